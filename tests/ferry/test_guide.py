"""The program in docs/eventsourcing.md runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.ferry.running import ROOT, WITHIN, Env


def test_the_program_of_the_guide_runs(tmp_path: Path, env: Env) -> None:
    page = (ROOT / "docs" / "eventsourcing.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "shop.py").write_text(program)
    ran = subprocess.run(
        [sys.executable, "shop.py"],
        cwd=tmp_path,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("['Summa de arithmetica']\n", "")
