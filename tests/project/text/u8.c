/* Searching and comparing of strings of 8-bit units. Doesn't know encodings. */
#define TEXT_NAME text_u8
#define TEXT_UNIT uint8_t
#include "text.h"
