#!/bin/sh
# An offline run of Weights & Biases holds a symbolic link even where links are switched off.
#
# Most expect: with Settings(symlink=False) the folder of a run holds plain files alone, so that it
#   can be copied, archived or handed to a program that refuses links.
# Seen: in wandb 0.31.0 the setting leaves out latest-run and the links to the newest logs, and
#   logs/debug-core.log of the run is still a link, into the user's cache folder: a copy on another
#   machine points nowhere.
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/offline.py" <<'END'
import pathlib
import sys

import wandb

kept = pathlib.Path(sys.argv[1])
settings = wandb.Settings(symlink=False, silent=True)
run = wandb.init(mode="offline", dir=kept, project="finding", settings=settings)
run.log({"loss": 1.0})
run.finish()
found = [path for path in kept.rglob("*") if path.is_symlink()]
print([(path.name, kept in path.resolve().parents) for path in found])
END
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "wandb==0.31.0"
mkdir "$folder/kept" "$folder/home"
seen=$(HOME="$folder/home" "$folder/venv/bin/python" "$folder/offline.py" "$folder/kept")
echo "links, and whether they stay in the folder: wandb 0.31.0 $seen"
[ "$seen" = "[('debug-core.log', False)]" ]
