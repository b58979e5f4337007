"""What works on this machine and what does not, with the reason and the one command that mends it."""

from .diagnosis import diagnose as diagnose
from .findings import Diagnosis as Diagnosis
