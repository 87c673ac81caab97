#!/usr/bin/env python3
"""Compare the program's families with the specification's model.

    families_model.py TOOL

TOOL is a program that answers like `lipservice signature`. On every labelled log:
the same partition as the model's groups(), at the model's weight and at ours; the
same ids in three shuffled orders; ids of two processes that saw half of the lines
each; the scores. The model and the logs are looked for in ../shared beside the
repository, or in SHARED_DIR; without them the test is skipped (exit status 77).
Standard library only.
"""
import argparse
import os
import random
import sys

from signature_model import SHARED, run

WEIGHTS = (6, 8)       # the model's, which is the default, and a more careful one
ORDERS = 3
HALVES_AGREE = 0.99    # the specification's target; 0.999 is its hope
SCORES = {"content": (0.985, 0.966), "raw": (0.980, 0.948)} # GA, FGA at the model's weight


def first_seen(ids):
    """The partition that the ids make: each line's first line of the same id."""
    seen = {}
    return [seen.setdefault(x, i) for i, x in enumerate(ids)]


def shuffled(r, n):
    order = list(range(n))
    r.shuffle(order)
    return order


def agreement(tool, raw, half, weight):
    """Of how many lines two processes say the same that saw half of them each. One
    that has never seen a pattern has nothing but the pattern's own id for it."""
    patterns = run(tool, raw)
    family = []
    for seen in (half, sorted(set(range(len(raw))) - set(half))):
        ids = run(tool, [raw[i] for i in seen], f"--families={weight}")
        family.append(dict(zip((patterns[i] for i in seen), ids)))
    return sum(family[0].get(x, x) == family[1].get(x, x) for x in patterns)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("tool")
    a = p.parse_args()
    if not os.path.isdir(os.path.join(SHARED, "model")):
        print(f"skipped: no model in {SHARED} (set SHARED_DIR to look elsewhere)")
        return 77
    tool = [os.path.abspath(a.tool)]
    if os.path.basename(tool[0]) == "lipservice":
        tool.append("signature")
    sys.path.insert(0, os.path.join(SHARED, "model"))
    import pattern_eval
    import pattern_ref
    root = os.path.join(SHARED, "data", "loghub")
    systems = sorted(n for n in os.listdir(root) if os.path.isdir(os.path.join(root, n)))
    wrong = 0
    for source in ("content", "raw"):
        for weight in WEIGHTS:
            scores, same, asked = [], 0, 0
            for name in systems:
                lines, truth = pattern_eval.load(os.path.join(root, name), "corrected", "auto", source)
                raw = [x.encode("utf-8", "surrogateescape") for x in lines]
                ids = run(tool, raw, f"--families={weight}")
                if first_seen(ids) != first_seen(pattern_ref.groups(lines, k=weight)):
                    wrong += 1
                    print(f"DIFFERENT {source} {name} weight {weight}: not the model's groups")
                for seed in range(ORDERS):
                    order = shuffled(random.Random(seed), len(raw))
                    again = run(tool, [raw[i] for i in order], f"--families={weight}")
                    moved = sum(ids[i] != x for i, x in zip(order, again))
                    if moved > 0:
                        wrong += 1
                        print(f"DIFFERENT {source} {name} weight {weight} order {seed}: {moved} lines")
                scores.append(pattern_eval.score(ids, truth, 10, 100))
                half = shuffled(random.Random(name), len(raw))[::2]
                same += agreement(tool, raw, half, weight)
                asked += len(raw)
            average = {k: sum(s[k] for s in scores) / len(scores) for k in ("GA", "FGA", "pure", "cov")}
            print(f"{source}, weight {weight}:", ", ".join(f"{k} {v:.4f}" for k, v in average.items()),
                  f"; two halves agree on {same} of {asked} lines ({same / asked:.4f})")
            wrong += same < HALVES_AGREE * asked
            if weight == WEIGHTS[0]:
                wrong += any(round(average[k], 3) < v for k, v in zip(("GA", "FGA"), SCORES[source]))
    print("all as it should be" if wrong == 0 else f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
