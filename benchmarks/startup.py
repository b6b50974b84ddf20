"""Seconds that `import auricle` takes, and how large the light install is."""

import json
import subprocess
import sys

import common

GOAL_S = 0.3
STEPS = {
    "import auricle": "import auricle",
    "import auricle, all of speech to text": "import auricle; auricle.load; auricle.Transcript",
}
TIMED = """
import sys, time
begun, worked = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - begun, time.process_time() - worked, "torch" in sys.modules)
"""
# Runs in the interpreter that is asked about; `packaging` comes with onnxruntime.
SIZES = """
import json, pathlib
from importlib.metadata import PackageNotFoundError, distribution
from packaging.requirements import Requirement
import auricle

sizes, wanted = {}, ["auricle"]
while wanted:
    name = wanted.pop().lower().replace("_", "-")
    if name in sizes:
        continue
    try:
        found = distribution(name)
    except PackageNotFoundError:
        continue
    files = [pathlib.Path(found.locate_file(file)) for file in found.files or ()]
    if name == "auricle":  # which may be installed as a link to its source
        files = pathlib.Path(auricle.__file__).parent.rglob("*")
    sizes[name] = sum(f.stat().st_size for f in files if f.is_file())
    for line in found.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            wanted.append(requirement.name)
print(json.dumps(sizes))
"""


def run(python: str, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} failed:\n{done.stderr}")
    return done.stdout


def timed(python: str, statement: str, times: int) -> tuple[list[float], list[float]]:
    """Seconds by the clock and of processor time of `statement`, in fresh interpreters."""
    clock, worked = [], []
    for _ in range(times):
        values = run(python, TIMED.format(statement=statement)).split()
        if values[2] == "True":
            sys.exit(f"{statement!r} imported torch: the light path must not")
        clock.append(float(values[0]))
        worked.append(float(values[1]))
    return clock, worked


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--times", type=int, default=15, help="fresh interpreters (%(default)s)")
    options.add_argument("--python", default=sys.executable, help="of the install to look at")
    chosen = options.parse_args()
    common.warn_if_busy()
    rows, numbers = [], {"machine": common.machine()}
    for label, statement in STEPS.items():
        common.note(f"{label}: {chosen.times} interpreters ...")
        seconds, worked = timed(chosen.python, statement, chosen.times)
        middle, cpu_s = common.median(seconds), common.median(worked)
        spread = f"({min(seconds):.3f} .. {max(seconds):.3f}), {cpu_s:.3f} s of processor time"
        rows.append((label, f"{middle:.3f} s  {spread}"))
        numbers[label] = {"median_s": middle, "median_cpu_s": cpu_s, "all_s": seconds}
    sizes = json.loads(run(chosen.python, SIZES))
    largest = sorted(sizes, key=lambda name: -sizes[name])
    total_mb = sum(sizes.values()) / 1e6
    rows += [
        (f"goal: import under {GOAL_S} s", str(numbers["import auricle"]["median_s"] < GOAL_S)),
        ("light install", f"{total_mb:.0f} MB in {len(sizes)} packages"),
        *((f"  {name}", f"{sizes[name] / 1e6:.0f} MB") for name in largest[:6]),
    ]
    numbers["light_install_mb"] = total_mb
    numbers["packages_mb"] = {name: sizes[name] / 1e6 for name in largest}
    common.finish("start-up", rows, numbers, chosen.json)


if __name__ == "__main__":
    main()
