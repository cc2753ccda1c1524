/* Rows to a stream, in the form that --format asks for. */
#pragma once

#include <stdio.h>

#include "store/report.h"

enum writer_format {
    WRITER_TABLE,  /* columns for a person; NULL is "-" */
    WRITER_RECORD, /* a line a column, for rows that are too wide for a table */
    WRITER_CSV,    /* RFC 4180; NULL is empty, an empty text is "" in quotes */
    WRITER_JSON,   /* one array of objects (RFC 8259) */
};

struct writer;

/* NULL when memory cannot be had. The stream stays the caller's. */
struct writer *writer_new(FILE *out, enum writer_format format);
/* What is not written yet is lost without writer_end(). NULL is accepted and returned. */
struct writer *writer_free(struct writer *writer);

/* Gives the following rows a heading and, unless the writer writes JSON, a layout of their own
 * (WRITER_TABLE or WRITER_RECORD); in JSON their first member is "section". Not for CSV, whose rows
 * all have the same columns. */
void writer_section(struct writer *writer, const char *title, enum writer_format layout);

/* Where a report goes: valid as long as the writer. Without sections, one report a writer. */
struct report_sink writer_sink(struct writer *writer);

/* Writes what is left (for JSON the end of the array, also when there was no row at all) and
 * flushes. 0, or negative errno when anything could not be written. */
int writer_end(struct writer *writer);
