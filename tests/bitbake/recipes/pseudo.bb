# Below a stand-in for pseudo: another worker, other variables.
FAKEROOTCMD = "${SRC}/faked.sh"
FAKEROOTENV = "FAKED=1"
FAKEROOTNOENV = "FAKED=0"
FAKEROOTDIRS = ""
do_compile[fakeroot] = "1"
