/* Searching and comparing of strings of 32-bit units. Doesn't know encodings. */
#define TEXT_NAME text_u32
#define TEXT_UNIT uint32_t
#include "text.h"
