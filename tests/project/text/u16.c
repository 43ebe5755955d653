/* Searching and comparing of strings of 16-bit units. Doesn't know encodings. */
#define TEXT_NAME text_u16
#define TEXT_UNIT uint16_t
#include "text.h"
