# Four jobs, each of them JOB, which stamp the log when they have their token and before they give it back.
all: a b c d
a b c d:
	@read up rest </proc/uptime; echo S $$up $(NAME) >>$(LOG); $(JOB); read up rest </proc/uptime; echo E $$up $(NAME) >>$(LOG)
.PHONY: all a b c d
