"""Why a stream does not stream: examines a gateway, or any endpoint of server-sent events, through whatever is in between.

Laws: an examination changes nothing and asks no paid model unless one is named; each finding names what was seen and, where
something is wrong, the lines to paste that mend it; what could not be tried is told as such, never as healthy.
"""

from dazi.doctor.examination import Patient, examine
from dazi.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Patient", "Verdict", "examine"]
