# The same, one make deeper, twice.
all: one two
one two:
	@$(MAKE) -s --no-print-directory -f $(SRC)/flat.mk
.PHONY: all one two
