"""C and C++ files that take gcc -O2 about a second each, and makefiles whose jobs log when they start and end.

Doesn't know what is compared. What is written depends on a number only: the same for everybody.
"""

import random

from bench_kit import OPTIONS, tool

C_HEAD = """#include <stdint.h>
#include <string.h>
struct state { uint64_t a[16]; double x[16]; unsigned char text[256]; };
"""

C_FUNCTION = """
uint64_t f{n}(struct state *s, uint64_t v, int count)
{{
    double sum = {d}.5;
    for (int i = 0; i < count; i++) {{
        switch ((v ^ s->a[i & 15]) % {m}) {{
{cases}
        default: v = (v << {l}) | (v >> (64 - {l}));
        }}
        for (int k = 0; k < 16; k++) {{
            s->x[k] = s->x[(k + {k}) & 15] * {d}.25 + s->a[k];
            sum += s->x[k] > sum ? s->x[k] / (k + {m}) : -s->x[k];
        }}
        if (memchr(s->text, (int)(v & 255), sizeof s->text))
            v += (uint64_t)sum ^ s->text[v & 255];
    }}
    return v + (uint64_t)sum{call};
}}
"""

CXX_HEAD = """#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>
template <int N> struct item { int key; double value[N]; std::string name; };
"""

CXX_FUNCTION = """
double g{n}(const std::vector<std::string> &words, int count)
{{
    std::vector<item<{k}>> all;
    std::unordered_map<std::string, item<{k}>> by_name;
    std::map<int, std::vector<item<{k}>>> by_key;
    for (int i = 0; i < count; i++) {{
        item<{k}> one{{i % {m}, {{}}, words[(i * {l}) % words.size()]}};
        std::iota(one.value, one.value + {k}, {d}.5 * i);
        all.push_back(one);
        by_name.emplace(one.name + std::to_string(i), one);
        by_key[one.key].push_back(one);
    }}
    std::sort(all.begin(), all.end(), [](const auto &a, const auto &b) {{ return a.name < b.name; }});
    std::stable_sort(all.begin(), all.end(), [](const auto &a, const auto &b) {{ return a.value[0] < b.value[0]; }});
    double sum = by_name.size();
    for (const auto &[key, items] : by_key)
        for (const auto &one : items)
            sum += key * std::accumulate(one.value, one.value + {k}, {d}.0);
    return sum + all.size();
}}
"""


def c_file(dice, functions):
    text = C_HEAD
    for n in range(functions):
        m, l, k, d = (dice.randint(*of) for of in ((7, 40), (3, 50), (1, 15), (1, 900)))
        case = "        case {}: v = v * {}u + s->a[{}]; s->a[{}] ^= v >> {}; break;"
        cases = (case.format(i, dice.randrange(1 << 31), dice.randrange(16), dice.randrange(16), dice.randint(1, 60))
                 for i in range(m))
        call = f" + f{dice.randrange(n)}(s, v, count / 2)" if n else ""
        text += C_FUNCTION.format(n=n, m=m, l=l, k=k, d=d, cases="\n".join(cases), call=call)
    return text


def cxx_file(dice, functions):
    text = CXX_HEAD
    for n in range(functions):
        # Each its own types, so that nothing is compiled once for several.
        text += CXX_FUNCTION.format(n=n, k=n + 2, m=dice.randint(7, 40), l=dice.randint(3, 50), d=dice.randint(1, 900))
    return text


def project(name, files, copies=1):
    """A makefile that compiles so many files so many times, and links them into one object. `OUT` is where to,
    up to the name, and `LOG` where the jobs log."""
    folder = OPTIONS.scratch / name
    folder.mkdir(exist_ok=True)
    dice = random.Random(7)
    rules, objects = [], []
    for i in range(files):
        # As in real projects the files aren't of one length, and the long ones not all at the end.
        is_cxx, share = i % 5 in (1, 3), dice.uniform(0.5, 1.5)
        source = folder / (f"g{i}.cc" if is_cxx else f"f{i}.c")
        source.write_text(cxx_file(dice, round(2 * share)) if is_cxx else c_file(dice, round(65 * share)))
        for copy in range(copies):
            objects.append(f"$(OUT){i}-{copy}.o")
            compiler = "$(CXX) -std=c++17" if is_cxx else "$(CC)"
            rules.append(f"{objects[-1]}: {source}\n\t@$(JOB) run {compiler} -O2 -c -o $@ {source}\n")
    makefile = folder / "Makefile"
    # The files name their functions alike: of each the first is linked.
    makefile.write_text(f"JOB = {tool('job')} $(LOG)\nall: $(OUT)all.o\n"
                        f"$(OUT)all.o: {' '.join(objects)}\n\t@$(JOB) run ld -r -z muldefs -o $@ $^\n" + "".join(rules))
    return makefile


def jobs(name, count, kind):
    """A makefile of so many jobs of one kind (job.c); `{n}` in it is which, and `$(OUT)` as above."""
    makefile = OPTIONS.scratch / f"{name}.mk"
    names = " ".join(f"t{n}" for n in range(count))
    rules = "".join(f"t{n}:\n\t@{tool('job')} $(LOG) {kind.format(n=n)}\n" for n in range(count))
    makefile.write_text(f"all: {names}\n.PHONY: all {names}\n{rules}")
    return makefile
