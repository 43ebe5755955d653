/*
 * Joins a template's prefix and a suffix into one name: PASTE(map_i32, get) is map_i32_get.
 * It doesn't know any template. Two steps, so that macros given to it are expanded first.
 */
#ifndef PASTE_H
#define PASTE_H
#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#endif
