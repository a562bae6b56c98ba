"""Three FITS images of 40 x 40 pixels under survey/."""
import pathlib
import struct

pathlib.Path("survey").mkdir()
for i, flux in enumerate((10, 20, 30)):
    cards = ["SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2",
             "NAXIS1  =                   40", "NAXIS2  =                   40", f"FLUX    = {flux:>20}", "END"]
    pixels = struct.pack(">1600f", *(flux * (1 + p % 7) for p in range(1600)))
    header = "".join(card.ljust(80) for card in cards).ljust(2880)
    pathlib.Path(f"survey/g{i}.fits").write_bytes(header.encode() + pixels.ljust(8640, b"\0"))
