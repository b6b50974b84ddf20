"""doctor: what is wrong with this data, before anyone trains on it.

`examine` listens to every recording and reads every transcript. Its errors are what training would
fail on; its warnings are what would train well enough and serve badly.
"""

from auricle.doctor.checks import KINDS, DoctorSettings
from auricle.doctor.examination import examine
from auricle.doctor.labels import with_labels
from auricle.doctor.report import Problem, Report
from auricle.doctor.voices import with_voices

__all__ = ["KINDS", "DoctorSettings", "Problem", "Report", "examine", "with_labels", "with_voices"]
