"""Leave-one-out: the last item of each user is the test target, the one before the validation target."""

from __future__ import annotations

from genrec.families import SplitRule, splits
from genrec.types import Dataset


@splits.register("leave_one_out")
class LeaveOneOut(SplitRule):
    """The last item of each user is the test target, the item before it the validation target.

    The split of most papers on sequential recommendation (Kang and McAuley, ICDM 2018). Users with fewer than three
    items are trained on and not evaluated. It is no split in time: training has interactions that are later than test
    targets; ``genrec data audit`` reports how many.
    """

    def split(self, dataset: Dataset) -> None:
        """Nothing to do; see :meth:`SplitRule.split`."""
