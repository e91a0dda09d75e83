"""Write the held-out digits of scikit-learn into the package, so that showing one does not import scikit-learn.

They are of the data set "Optical Recognition of Handwritten Digits" of the UCI repository (E. Alpaydin, C. Kaynak,
1998, https://doi.org/10.24432/C50P49, CC BY 4.0).
"""

import numpy as np

from convscope.samples import digits


def main() -> None:
    """Write the file."""
    held_out = digits.split()["held out"]
    np.savez_compressed(digits.HELD_OUT_FILE, images=held_out.images, labels=held_out.labels.astype(np.uint8))


if __name__ == "__main__":
    main()
