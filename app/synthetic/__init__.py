"""A wholly synthetic clinic, from a seed: for the demo, for tests, for benchmarks. Standard library alone.

Nobody in it is real, and nothing in it is evidence: see docs/synthetic-clinic.md.
"""

from app.synthetic.clinic import synthetic_clinic, synthetic_patients
from app.synthetic.model import (
    CourseKind,
    SyntheticAdverseEvent,
    SyntheticClinic,
    SyntheticEpisode,
    SyntheticForm,
    SyntheticObservation,
    SyntheticPatient,
    SyntheticTreatmentSession,
)
from app.synthetic.stream import StreamedForm, forms_stream

__all__ = [
    "CourseKind",
    "StreamedForm",
    "SyntheticAdverseEvent",
    "SyntheticClinic",
    "SyntheticEpisode",
    "SyntheticForm",
    "SyntheticObservation",
    "SyntheticPatient",
    "SyntheticTreatmentSession",
    "forms_stream",
    "synthetic_clinic",
    "synthetic_patients",
]
