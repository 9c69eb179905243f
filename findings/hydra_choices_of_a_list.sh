#!/bin/sh
# Hydra does not record which options were chosen where a group was given a list of them.
#
# Most expect: ${hydra:runtime.choices.GROUP} (and .hydra/hydra.yaml, which keeps it) names what was
#   chosen in GROUP, for GROUP=[a,b] as for GROUP=a.
# Seen: hydra-core 1.3.8 records "a" for GROUP=a and nothing for GROUP=[a,b], although both are composed.
#   Whoever names runs after their choices, or reproduces a run from them, loses the list.
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/conf/tracker"
echo 'a: 1' >"$folder/conf/tracker/a.yaml"
echo 'b: 2' >"$folder/conf/tracker/b.yaml"
printf 'defaults:\n  - tracker: a\n' >"$folder/conf/main.yaml"
cat >"$folder/choices.py" <<'END'
import sys

from hydra import compose, initialize_config_dir

found = []
with initialize_config_dir(sys.argv[1], version_base="1.3"):
    for given in ("tracker=a", "tracker=[a,b]"):
        config = compose("main", [given], return_hydra_config=True)
        found.append((dict(config.tracker), config.hydra.runtime.choices.get("tracker")))
print(found)
END
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "hydra-core==1.3.8" "omegaconf==2.3.0"
seen=$("$folder/venv/bin/python" "$folder/choices.py" "$folder/conf")
echo "composed and recorded for tracker=a and tracker=[a,b]: hydra-core 1.3.8 $seen"
[ "$seen" = "[({'a': 1}, 'a'), ({'a': 1, 'b': 2}, None)]" ]
