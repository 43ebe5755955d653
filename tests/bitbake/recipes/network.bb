# In the host's network namespace; all others have one of their own.
do_compile[network] = "1"
