#!/bin/bash
# hydra-ray-launcher cannot join a Ray cluster that runs already with the one word for its address.
#
# hydra-core 1.3.8, hydra-ray-launcher 1.2.2, ray 2.60.0 (Python 3.11).
# Expected: hydra/launcher=ray and +hydra.launcher.ray.init.address=HOST:PORT send the jobs of a
#   sweep to the cluster there, because the rest of the launcher's settings are its defaults.
# Seen: no job runs. The launcher passes its own default of object_store_memory to ray.init, which
#   Ray takes only for a cluster that it starts itself, and refuses with a ValueError. The default
#   has to be taken back: +hydra.launcher.ray.init.object_store_memory=null. Then all jobs run.
# Exit code 0: still so; 1: it has changed.
set -eu
folder=$(mktemp -d)
cd "$folder"
python3 -m venv env
. env/bin/activate
trap 'ray stop --force >/dev/null 2>&1; rm -rf "$folder"' EXIT
pip install -q hydra-core==1.3.8 hydra-ray-launcher==1.2.2 ray==2.60.0 "setuptools<81"
cat > app.py <<'APP'
import os

import hydra


@hydra.main(version_base=None, config_path=None)
def main(config):
    with open(os.path.join(os.environ["DONE"], str(config.x)), "w"):
        pass


main()
APP
mkdir without with
export RAY_USAGE_STATS_ENABLED=0
ray start --head --port=6399 --num-cpus=1 --include-dashboard=false >/dev/null
words=(-m +x=1,2 hydra/launcher=ray +hydra.launcher.ray.init.address=127.0.0.1:6399)
DONE=$folder/without python app.py "${words[@]}" > without.log 2>&1 || true
DONE=$folder/with python app.py "${words[@]}" \
    +hydra.launcher.ray.init.object_store_memory=null > with.log 2>&1
grep "object_store_memory must not be provided" without.log | tail -n 1
echo "jobs done: $(ls without | wc -l) as they come, $(ls with | wc -l) with object_store_memory=null"
grep -q "object_store_memory must not be provided" without.log
test "$(ls without | wc -l)" = 0 && test "$(ls with | wc -l)" = 2
