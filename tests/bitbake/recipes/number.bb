# A number in EXTRA_OEMAKE, beside an empty PARALLEL_MAKE's opposite.
EXTRA_OEMAKE = "-j3"
