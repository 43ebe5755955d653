# Flat, with -jN on the command line, as OE has it.
