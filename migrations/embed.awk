# Turns migrations/<database>/NNNN_name.sql into a C table (see src/store/migrate.h).
function c_string(line) {
    gsub(/\\/, "\\\\", line)
    gsub(/"/, "\\\"", line)
    return "    \"" line "\\n\"\n"
}
FNR == 1 {
    if (NR > 1) text = text "},\n"
    n = split(FILENAME, part, "/")
    text = text "{\"" part[n - 1] "\", " (substr(part[n], 1, 4) + 0) ", \"" part[n] "\",\n"
}
{ text = text c_string($0) }
END {
    print "/* Made from the files in migrations/. */"
    print "#include \"store/migrate.h\""
    print "const struct migration migrations[] = {"
    printf "%s},\n", text
    print "{NULL, 0, NULL, NULL}};"
}
