"""PCL-5 over the past month: intake and follow-up."""

from typing import Final

from app.scoring.instruments._pcl_5 import pcl_5

INSTRUMENT: Final = pcl_5(variant="month", version=1, window="the past month", recall_days=30)
