/* Text for people: logs and errors. */
#pragma once

#include <stddef.h>

/* Replaces the control characters in `text`: C0, delete, and C1 (U+0080 to U+009F, two bytes each),
 * which a terminal obeys as well. A text that fills its buffer of `size` loses a character that was
 * cut in two, so that what was UTF-8 still is. */
void text_make_one_line(char *text, size_t size);
