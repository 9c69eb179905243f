#!/bin/sh
# hydra-ray-launcher cannot join a running Ray cluster by its address alone.
#
# Most expect: hydra/launcher=ray and +hydra.launcher.ray.init.address=HOST:PORT send the jobs of a sweep
#   to the cluster there, because all else of the launcher's settings are its defaults.
# Seen: with hydra-core 1.3.8, hydra-ray-launcher 1.2.2 and ray 2.60.0 no job runs. The launcher gives
#   ray.init an object_store_memory of its own, which Ray takes only where it starts a cluster itself:
#   ValueError. +hydra.launcher.ray.init.object_store_memory=null takes it back, and all jobs run.
# Exit code: 0 as seen, 1 once that has changed.
set -eu
folder=$(mktemp -d)
trap '"$folder/venv/bin/ray" stop --force >/dev/null 2>&1; rm -rf "$folder"' EXIT
mkdir "$folder/alone" "$folder/null"
cat >"$folder/app.py" <<'END'
from pathlib import Path

import hydra


@hydra.main(version_base=None, config_path=None)
def main(config):
    Path(config.folder, str(config.job)).touch()


main()
END
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "hydra-core==1.3.8" "hydra-ray-launcher==1.2.2" "ray==2.60.0" "setuptools<81"
export RAY_USAGE_STATS_ENABLED=0 PATH="$folder/venv/bin:$PATH"
cd "$folder"
ray start --head --port=6399 --num-cpus=1 --include-dashboard=false >start.log 2>&1
set -- -m +job=1,2 hydra/launcher=ray +hydra.launcher.ray.init.address=127.0.0.1:6399
python app.py "$@" "+folder=$folder/alone" >alone.log 2>&1 || true
python app.py "$@" "+folder=$folder/null" +hydra.launcher.ray.init.object_store_memory=null >null.log 2>&1 || true
said=$(grep -c "object_store_memory must not be provided" alone.log || true)
seen="$(ls alone | wc -l) of 2 jobs (refused: $((said > 0))), with null $(ls null | wc -l) of 2"
echo "hydra-ray-launcher 1.2.2 on a running cluster of ray 2.60.0: $seen"
[ "$seen" = "0 of 2 jobs (refused: 1), with null 2 of 2" ]
