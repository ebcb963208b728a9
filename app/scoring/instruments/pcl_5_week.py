"""PCL-5 over the past week: between sessions."""

from typing import Final

from app.scoring.instruments._pcl_5 import pcl_5

INSTRUMENT: Final = pcl_5(variant="week", version=1, window="the past week", recall_days=7)
