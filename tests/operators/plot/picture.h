/* Reading back what was drawn, with a decoder that is not ours: Python's zlib and XML parser. Tests skip without Python. */
#ifndef LM_TESTS_PICTURE_H
#define LM_TESTS_PICTURE_H

#include "runtime/alloc.h"
#include "tests/test.h"

#include <stdarg.h>
#include <stdint.h>

typedef struct picture {
    size_t width, height;
    uint8_t *rgb; /* rows from the top */
} picture;

/* The bytes of a file, with a zero after them. The caller frees them. */
static inline char *file_bytes(const char *path, size_t *ret_n)
{
    FILE *file = fopen(path, "rb");
    if (!file) FAIL("there is no file %s", path);
    fseek(file, 0, SEEK_END);
    size_t n = (size_t)ftell(file);
    rewind(file);
    char *bytes = lm_alloc(n + 1, 1);
    CHECK(bytes && fread(bytes, 1, n, file) == n);
    fclose(file);
    if (ret_n) *ret_n = n;
    return bytes;
}

static inline void need_python(void)
{
    if (system("python3 -c 'import zlib, xml.dom.minidom' 2>/dev/null") != 0)
        SKIP("no python3 to decode pictures with");
}

/* Decodes a PNG of 8-bit colour; fails the test if any check sum is wrong, or anything is left over. */
static inline picture picture_read(const char *path)
{
    need_python();
    static const char script[] = "import sys,zlib,struct\n"
                                 "d=open(sys.argv[1],'rb').read()\n"
                                 "assert d[:8]==b'\\x89PNG\\r\\n\\x1a\\n'\n"
                                 "o=8;idat=b'';names=[]\n"
                                 "while o<len(d):\n"
                                 "  n,t=struct.unpack('>I4s',d[o:o+8]);body=d[o+8:o+8+n]\n"
                                 "  assert zlib.crc32(t+body)==struct.unpack('>I',d[o+8+n:o+12+n])[0],t\n"
                                 "  names.append(t)\n"
                                 "  if t==b'IHDR': w,h,*kind=struct.unpack('>IIBBBBB',body)\n"
                                 "  if t==b'IDAT': idat+=body\n"
                                 "  o+=12+n\n"
                                 "assert kind==[8,2,0,0,0] and names[0]==b'IHDR' and names[-1]==b'IEND' and o==len(d)\n"
                                 "z=zlib.decompressobj();raw=z.decompress(idat);assert z.eof and not z.unused_data\n"
                                 "row=3*w;assert len(raw)==h*(row+1)\n"
                                 "above=bytes(row);out=[]\n"
                                 "for y in range(h):\n"
                                 "  f=raw[y*(row+1)];line=bytearray(raw[y*(row+1)+1:(y+1)*(row+1)])\n"
                                 "  assert f<3\n"
                                 "  if f==1:\n"
                                 "    for i in range(3,row): line[i]=(line[i]+line[i-3])&255\n"
                                 "  if f==2: line=bytearray((a+b)&255 for a,b in zip(line,above))\n"
                                 "  above=line;out.append(bytes(line))\n"
                                 "open(sys.argv[2],'wb').write(struct.pack('<QQ',w,h)+b''.join(out))\n";
    char file[1200], raw[1200], command[4000];
    snprintf(file, sizeof file, "%s.py", path);
    snprintf(raw, sizeof raw, "%s.raw", path);
    FILE *to = fopen(file, "w");
    CHECK(to && fputs(script, to) >= 0 && fclose(to) == 0);
    snprintf(command, sizeof command, "python3 '%s' '%s' '%s'", file, path, raw);
    if (system(command) != 0) FAIL("%s is not a PNG that decodes", path);
    size_t n;
    char *bytes = file_bytes(raw, &n);
    uint64_t size[2];
    memcpy(size, bytes, sizeof size);
    CHECK(n == 16 + 3 * size[0] * size[1]);
    memmove(bytes, bytes + 16, n - 16);
    return (picture){size[0], size[1], (uint8_t *)bytes};
}

static inline uint32_t dot(const picture *p, double x, double y)
{
    if (!(x >= 0 && y >= 0 && x < (double)p->width && y < (double)p->height)) FAIL("no dot at %g, %g", x, y);
    const uint8_t *c = p->rgb + 3 * ((size_t)y * p->width + (size_t)x);
    return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
}

static inline void check_xml(const char *path)
{
    need_python();
    char command[2000];
    snprintf(command, sizeof command, "python3 -c 'import sys,xml.dom.minidom as m; m.parse(sys.argv[1])' '%s'", path);
    if (system(command) != 0) FAIL("%s is not well-formed XML", path);
}

/* printf into static storage, good for 32 calls: for parameters with a path in them. */
static inline __attribute__((format(printf, 1, 2))) const char *words(const char *format, ...)
{
    static char texts[32][1400];
    static unsigned turn;
    char *text = texts[turn++ % 32];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof texts[0], format, args);
    va_end(args);
    return text;
}

#endif
