# Compiles every .c file of one folder into build/<folder>/ and packs them into a library.
# The including Makefile sets TOP, the way to the project's folder, and NAME, its own place
# below it. It doesn't know what the library is for.
OUT := $(TOP)/build/$(NAME)
OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(wildcard *.c))
FLAGS := -std=c11 -Wall -Wextra -I$(TOP)/include

library: $(OUT)/lib$(notdir $(NAME)).a

$(OUT)/lib$(notdir $(NAME)).a: $(OBJECTS)
	rm -f $@ && $(AR) rcs $@ $^

$(OUT)/%.o: %.c | $(OUT)
	$(CC) $(FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT):
	mkdir -p $@

.PHONY: library
-include $(OBJECTS:.o=.d)
