"""Small pictures in every form of the formats that data sets hold, with PIL's pixels of each.

    python picture_formats.py ../../picture/testdata/formats.tar.gz

NAME.EXT and, beside it, NAME.EXT.rgb: height and width as two little-endian 32-bit numbers, then
np.asarray(Image.open(NAME.EXT).convert("RGB")).
"""
import gzip
import io
import struct
import sys
import tarfile

import numpy as np
from PIL import Image

W, H = 23, 17  # no multiple of 2, 4 or 8


def scene(rng):
    """Smooth colours, edges and some noise: (H,W,3) uint8."""
    y, x = np.mgrid[:H, :W]
    rgb = np.stack([11 * x, 15 * y, 255 - 5 * x - 4 * y], -1).astype(float)
    rgb[4:11, 6:15] = (220, 40, 60)
    return np.clip(rgb + rng.normal(0, 8, rgb.shape), 0, 255).astype(np.uint8)


def png_chunk(kind, data):
    import zlib
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(bits, colour, rows, extra=b"", interlace=0):
    """A PNG from packed rows (bytes, without filter), for what PIL doesn't write."""
    import zlib
    w, h, rows = rows
    head = struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def plain(samples):
    """Rows of 8 or 16-bit samples (H,W,C), unfiltered."""
    return b"".join(b"\0" + row.astype(">u2" if samples.dtype == np.uint16 else np.uint8).tobytes() for row in samples)


def adam7(samples):
    out = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = samples[y0::dy, x0::dx]
        if part.size:
            out += plain(part)
    return out


def bmp(bits, palette, rows, height, compression=0, masks=b"", head=40):
    size = 14 + head + len(masks) * (head == 40) + len(palette)
    body = struct.pack("<IiiHHIIiiII", head, W, height, 1, bits, compression, len(rows), 2835, 2835, len(palette) // 4, 0)
    if head > 40:
        body = body + masks + b"\0" * (head - 40 - len(masks))
    else:
        body = body + masks
    return struct.pack("<2sIHHI", b"BM", size + len(rows), 0, 0, size) + body + palette + rows


def padded(row):
    return row + b"\0" * (-len(row) % 4)


def rle8(index):
    """Runs, literal stretches and a jump, bottom row first."""
    out = b""
    for row in index[::-1]:
        out += bytes([5, row[0]]) if (row[:5] == row[0]).all() else b"".join(bytes([1, v]) for v in row[:5])
        literal = bytes(row[5:12])
        out += bytes([0, len(literal)]) + literal + b"\0" * (len(literal) % 2)
        out += b"".join(bytes([1, v]) for v in row[12:]) + b"\0\0"
    return out + b"\0\1"


def rle4(index):
    out = b""
    for row in index[::-1]:
        row = list(row) + [0]
        out += b"".join(bytes([2, row[i] << 4 | row[i + 1]]) for i in range(0, 6, 2))
        part = row[6:15]
        packed = bytes((part[i] << 4) | (part[i + 1] if i + 1 < len(part) else 0) for i in range(0, len(part), 2))
        out += bytes([0, len(part)]) + packed + b"\0" * (len(packed) % 2)
        out += b"".join(bytes([1, v << 4]) for v in row[15:W]) + b"\0\0"
    return out + b"\0\1"


def main(path):
    rng = np.random.default_rng(11)
    rgb = scene(rng)
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    alpha = Image.fromarray(np.linspace(0, 255, H * W).reshape(H, W).astype(np.uint8))
    rgba = image.copy()
    rgba.putalpha(alpha)
    la = Image.merge("LA", (grey, alpha))
    palette = image.quantize(32)
    index16 = np.asarray(image.quantize(16))
    cmyk = image.convert("CMYK")
    wide = (rgb.astype(np.uint16) << 8) + rng.integers(0, 256, rgb.shape).astype(np.uint16)
    files = {}

    def save(name, im, form=None, **options):
        b = io.BytesIO()
        im.save(b, form or {"jpg": "JPEG", "tif": "TIFF"}.get(name.split(".")[-1], name.split(".")[-1].upper()), **options)
        files[name] = b.getvalue()

    # JPEG
    save("rgb.jpg", image, quality=85)
    save("grey.jpg", grey, quality=85)
    save("progressive.jpg", image, quality=85, progressive=True)
    save("cmyk.jpg", cmyk, quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    save("rotated.jpg", image, quality=85, exif=exif)
    # PNG
    save("rgb.png", image)
    save("rgba.png", rgba)
    save("grey.png", grey)
    save("grey-alpha.png", la)
    save("bilevel.png", image.convert("1"))
    save("palette.png", palette)
    save("palette-transparent.png", palette, transparency=bytes(range(0, 256, 8)))
    save("palette-index-transparent.png", palette, transparency=3)
    save("palette-4bit.png", image.quantize(16), bits=4)
    save("palette-2bit.png", image.quantize(4), bits=2)
    save("rgb-transparent.png", image, transparency=tuple(int(v) for v in rgb[0, 0]))
    save("grey-transparent.png", grey, transparency=int(np.asarray(grey)[0, 0]))
    save("grey16.png", Image.fromarray(wide[..., 0]))
    save("grey16-dark.png", Image.fromarray(wide[..., 0] >> 7))
    files["rgb16.png"] = raw_png(16, 2, (W, H, plain(wide)))
    files["rgba16.png"] = raw_png(16, 6, (W, H, plain(np.concatenate([wide, wide[..., :1]], -1))))
    files["grey-alpha16.png"] = raw_png(16, 4, (W, H, plain(wide[..., :2])))
    files["grey16-transparent.png"] = raw_png(16, 0, (W, H, plain(wide[..., :1])), png_chunk(b"tRNS", struct.pack(">H", int(wide[0, 0, 0]))))
    files["interlaced.png"] = raw_png(8, 2, (W, H, adam7(rgb)), interlace=1)
    files["interlaced-grey16.png"] = raw_png(16, 0, (W, H, adam7(wide[..., :1])), interlace=1)
    # GIF
    save("palette.gif", palette)
    save("transparent.gif", palette, transparency=2)
    frames = [Image.fromarray(np.roll(rgb, 3 * i, 1)) for i in range(3)]
    save("animated.gif", frames[0], save_all=True, append_images=frames[1:], duration=50)
    # a first frame that covers part of the screen: Go's image.Image has bounds of its own
    small = palette.crop((0, 0, 11, 9))
    b = io.BytesIO()
    small.save(b, "GIF")
    data = bytearray(b.getvalue())
    data[6:10] = struct.pack("<HH", W, H)
    at = data.index(b"\x2c", 13 + 3 * (2 << (data[10] & 7)))
    data[at + 1:at + 5] = struct.pack("<HH", 5, 4)
    files["partial.gif"] = bytes(data)
    # WebP
    save("lossless.webp", image, lossless=True)
    save("lossless-alpha.webp", rgba, lossless=True, exact=True)
    save("lossy.webp", image, quality=80)
    save("lossy-low.webp", image, quality=5)
    save("lossy-alpha.webp", rgba, quality=80)
    save("lossy-even.webp", image.crop((0, 0, 22, 16)), quality=60)
    save("lossy-thin.webp", image.crop((0, 0, 1, 17)), quality=60)
    save("lossy-flat.webp", image.crop((0, 0, 23, 1)), quality=60)
    save("animated.webp", frames[0], save_all=True, append_images=frames[1:], quality=70)
    save("animated-lossless.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    # BMP
    save("rgb.bmp", image)
    save("grey.bmp", grey)
    save("bilevel.bmp", image.convert("1"))
    save("palette.bmp", palette)
    save("rgba.bmp", rgba)
    table = b"".join(bytes([b, g, r, 0]) for r, g, b in np.asarray(image.quantize(16).getpalette()[:48]).reshape(-1, 3).tolist())
    files["rle8.bmp"] = bmp(8, table, rle8(index16), H, 1)
    files["rle4.bmp"] = bmp(4, table, rle4(index16), H, 2)
    files["palette-4bit.bmp"] = bmp(4, table, b"".join(padded(bytes((r[i] << 4) | (r[i + 1] if i + 1 < W else 0) for i in range(0, W, 2))) for r in index16[::-1].tolist()), H)
    bgr = rgb[..., ::-1]
    files["top-down.bmp"] = bmp(24, b"", b"".join(padded(r.tobytes()) for r in bgr), -H)
    bgrx = np.concatenate([bgr, np.asarray(alpha)[..., None]], -1)
    files["32bit.bmp"] = bmp(32, b"", bgrx[::-1].tobytes(), H)
    files["32bit-masks.bmp"] = bmp(32, b"", bgrx[::-1].tobytes(), H, 3, struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
    files["32bit-v4.bmp"] = bmp(32, b"", bgrx[::-1].tobytes(), H, 3, struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), 108)
    r, g, b = (rgb[..., i].astype(np.uint16) for i in range(3))
    files["555.bmp"] = bmp(16, b"", b"".join(padded(row.astype("<u2").tobytes()) for row in ((r >> 3) << 10 | (g >> 3) << 5 | b >> 3)[::-1]), H)
    files["565.bmp"] = bmp(16, b"", b"".join(padded(row.astype("<u2").tobytes()) for row in ((r >> 3) << 11 | (g >> 2) << 5 | b >> 3)[::-1]), H, 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    # TIFF
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        save(f"rgb-{compression or 'raw'}.tif", image, compression=compression)
    save("rgb-predictor.tif", image, compression="tiff_lzw", tiffinfo={317: 2})
    save("rgba.tif", rgba, compression="tiff_lzw")
    save("grey.tif", grey, compression="tiff_adobe_deflate")
    save("grey-alpha.tif", la)
    save("bilevel.tif", image.convert("1"))
    save("bilevel-group4.tif", image.convert("1"), compression="group4")
    save("bilevel-group3.tif", image.convert("1"), compression="group3")
    save("palette.tif", palette, compression="tiff_lzw")
    save("cmyk.tif", cmyk, compression="tiff_lzw")
    save("cmyk-raw.tif", cmyk)
    save("grey16.tif", Image.fromarray(wide[..., 0]))
    save("grey16-lzw.tif", Image.fromarray(wide[..., 0] >> 7), compression="tiff_lzw")
    import tifffile
    for name, options in {"rgb16.tif": {}, "rgb16-big-endian.tif": {"byteorder": ">"}, "rgb16-deflate.tif": {"compression": "zlib", "predictor": True},
                          "rgb-strips.tif": {"rowsperstrip": 5}, "rgb-tiles.tif": {"tile": (16, 16)}, "rgb-planar.tif": {"planarconfig": "separate"},
                          "rgba-multiplied.tif": {"extrasamples": ["assocalpha"]}, "rgb16-tiles.tif": {"tile": (16, 16), "compression": "lzw", "predictor": True}}.items():
        b = io.BytesIO()
        data = wide if "16" in name[:6] else rgb
        if "rgba" in name:
            data = np.concatenate([rgb // 2, np.asarray(alpha)[..., None]], -1)
        if "planar" in name:
            data = np.ascontiguousarray(rgb.transpose(2, 0, 1))
        tifffile.imwrite(b, data, photometric="rgb", metadata=None, **options)
        files[name] = b.getvalue()

    b = io.BytesIO()
    tifffile.imwrite(b, np.asarray(grey), photometric="miniswhite", metadata=None)
    files["grey-inverted.tif"] = b.getvalue()

    # Equal pixels side by side, so that they take no room.
    pixels = {name: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for name, data in files.items()}
    entries = [(name, files[name]) for name in sorted(files)]
    entries += sorted(((name + ".rgb", struct.pack("<II", *p.shape[:2]) + p.tobytes()) for name, p in pixels.items()), key=lambda e: (e[1], e[0]))
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, 0) as z, tarfile.open(fileobj=z, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


main(sys.argv[1])
