# Stands for go, waf and the like.
