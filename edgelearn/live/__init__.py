"""``edgelearn train --live``: a training as it goes, on a terminal, or as lines where there is none."""
