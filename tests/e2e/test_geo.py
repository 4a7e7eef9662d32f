"""GEOADD, GEOSEARCH and their relatives."""

import math
import random

import pytest

from harness import ReplyError

SICILY = ("GEOADD", "s", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania")


def test_adding(c):
    assert c.call(*SICILY) == 2 and c.call(*SICILY) == 0
    assert c.call("ZSCORE", "s", "Palermo") == b"3479099956230698"
    assert c.call("GEOADD", "s", "CH", "13.4", "38.1", "Palermo", "14", "37", "Enna") == 2
    assert c.call("GEOADD", "s", "NX", "1", "1", "Enna", "2", "2", "New") == 1
    assert c.call("GEOADD", "s", "XX", "CH", "1", "1", "Enna", "2", "2", "None") == 1
    assert c.call("ZRANGE", "s", 0, -1) == [b"Enna", b"New", b"Palermo", b"Catania"] and c.call("GEOADD", "none", "XX", 1, 1, "a") == 0
    for args, text in ((("s", "NX", "XX", 1, 1, "a"), "ERR syntax error"), (("s", 1, 1, "a", 2), "ERR syntax error"),
                       (("s", "NX", "CH", "NX"), "ERR syntax error"), (("s", 181, 1, "a"), "ERR invalid longitude,latitude pair 181.000000,1.000000"),
                       (("s", 1, 1, "a", 1, "-85.06", "b"), "ERR invalid longitude,latitude pair 1.000000,-85.060000"),
                       (("s", "x", 1, "a"), "ERR value is not a valid float")):
        assert str(c.try_call("GEOADD", *args)) == text
    assert c.call("ZCARD", "s") == 4
    c.call("SET", "k", "v")
    assert c.try_call("GEOADD", "k", 1, 1, "a").code == "WRONGTYPE"


def test_reading(c):
    c.call(*SICILY)
    assert c.call("GEOPOS", "s", "Palermo", "none") == [[b"13.36138933897018433", b"38.11555639549629859"], None]
    assert c.call("GEOPOS", "none", "a") == [None] and c.raw("GEOPOS", "s", "x") == b"*1\r\n*-1\r\n" and c.call("GEOPOS", "s") == []
    assert c.call("GEOHASH", "s", "Palermo", "Catania", "x") == [b"sqc8b49rny0", b"sqdtr74hyu0", None]
    assert c.call("GEODIST", "s", "Palermo", "Catania") == b"166274.1516" and c.call("GEODIST", "s", "Palermo", "Catania", "km") == b"166.2742"
    assert c.call("GEODIST", "s", "Palermo", "Palermo", "FT") == b"0.0000" and c.call("GEODIST", "s", "Palermo", "x") is None
    assert str(c.try_call("GEODIST", "s", "Palermo", "Catania", "x")) == "ERR unsupported unit provided. please use M, KM, FT, MI"
    c.call("HELLO", 3)
    assert c.raw("GEOPOS", "s", "Palermo") == b"*1\r\n*2\r\n,13.36138933897018433\r\n,38.11555639549629859\r\n"


def test_searching(c):
    c.call(*SICILY)
    c.call("GEOADD", "s", "12.758489", "38.788135", "edge1", "17.241510", "38.788135", "edge2")
    around = ("FROMLONLAT", 15, 37)
    assert c.call("GEOSEARCH", "s", *around, "BYRADIUS", 200, "km", "ASC") == [b"Catania", b"Palermo"]
    assert c.call("GEOSEARCH", "s", *around, "BYBOX", 400, 400, "km", "ASC", "WITHDIST") == [
        [b"Catania", b"56.4413"], [b"Palermo", b"190.4424"], [b"edge2", b"279.7403"], [b"edge1", b"279.7405"]]
    assert c.call("GEOSEARCH", "s", "FROMMEMBER", "Palermo", "BYRADIUS", 100, "mi", "DESC", "COUNT", 1, "WITHHASH", "WITHCOORD", "WITHDIST") == [
        [b"edge1", c.call("GEODIST", "s", "Palermo", "edge1", "mi"), int(c.call("ZSCORE", "s", "edge1")), c.call("GEOPOS", "s", "edge1")[0]]]
    assert len(c.call("GEOSEARCH", "s", *around, "BYBOX", 400, 400, "km", "COUNT", 3, "ANY")) == 3
    assert c.call("GEORADIUS", "s", 15, 37, 200, "km", "WITHDIST", "DESC") == [[b"Palermo", b"190.4424"], [b"Catania", b"56.4413"]]
    assert c.call("GEORADIUSBYMEMBER_RO", "s", "Catania", 100, "km") == [b"Catania"]
    assert c.call("GEOSEARCH", "none", *around, "BYRADIUS", 1, "m") == [] and c.call("GEORADIUSBYMEMBER", "none", "a", 1, "m") == []


def test_storing(c):
    c.call(*SICILY)
    assert c.call("GEOSEARCHSTORE", "d", "s", "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km") == 2
    assert c.call("ZRANGE", "d", 0, -1, "WITHSCORES") == c.call("ZRANGE", "s", 0, -1, "WITHSCORES")
    assert c.call("GEOSEARCHSTORE", "d", "s", "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km", "STOREDIST", "COUNT", 1) == 1
    assert c.call("ZRANGE", "d", 0, -1) == [b"Catania"] and math.isclose(float(c.call("ZSCORE", "d", "Catania")), 56.4413, abs_tol=1e-4)
    assert c.call("GEORADIUS", "s", 15, 37, 200, "km", "STOREDIST", "d") == 2
    assert c.call("GEOSEARCHSTORE", "d", "s", "FROMLONLAT", 0, 0, "BYRADIUS", 1, "m") == 0 and c.call("EXISTS", "d") == 0
    c.call("SET", "d", "x")
    assert c.call("GEORADIUSBYMEMBER", "none", "a", 1, "m", "STORE", "d") == 0 and c.call("EXISTS", "d") == 0
    assert c.call("GEOSEARCHSTORE", "s", "s", "FROMMEMBER", "Palermo", "BYRADIUS", 1, "m") == 1 and c.call("ZRANGE", "s", 0, -1) == [b"Palermo"]


def test_errors(c):
    c.call(*SICILY)
    for words, text in (
            ("GEOSEARCH s BYRADIUS 1 m ASC DESC", "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH"),
            ("geosearch s FROMMEMBER Palermo ASC WITHDIST WITHHASH", "ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch"),
            ("GEOSEARCH s FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 m", "ERR syntax error"),
            ("GEOSEARCH s FROMMEMBER x BYRADIUS 1 m ASC", "ERR could not decode requested zset member"),
            ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS -1 m ASC", "ERR radius cannot be negative"),
            ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS x m ASC", "ERR need numeric radius"),
            ("GEOSEARCH s FROMMEMBER Palermo BYBOX x 1 m", "ERR need numeric width"),
            ("GEOSEARCH s FROMMEMBER Palermo BYBOX 1 x m", "ERR need numeric height"),
            ("GEOSEARCH s FROMMEMBER Palermo BYBOX 1 -1 m", "ERR height or width cannot be negative"),
            ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 x ASC", "ERR unsupported unit provided. please use M, KM, FT, MI"),
            ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 m COUNT 0", "ERR COUNT must be > 0"),
            ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 m ANY", "ERR the ANY argument requires COUNT argument"),
            ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 m STORE d", "ERR syntax error"),
            ("GEOSEARCHSTORE d s FROMMEMBER Palermo BYRADIUS 1 m WITHDIST",
             "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
            ("GEORADIUS s 1 1 1 m STORE d WITHDIST", "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
            ("GEORADIUS_RO s 1 1 1 m STORE d", "ERR syntax error")):
        assert str(c.try_call(*words.split())) == text, words


def test_keys_of_a_request(c):
    assert c.call("COMMAND", "GETKEYS", "GEORADIUS", "a", 1, 1, 1, "m", "STORE", "b") == [b"a", b"b"]
    assert c.call("COMMAND", "GETKEYS", "GEORADIUSBYMEMBER", "a", "x", 1, "m", "STOREDIST", "b", "STORE", "c") == [b"a", b"c", b"b"]
    assert c.call("COMMAND", "GETKEYS", "GEOSEARCHSTORE", "a", "b", "FROMMEMBER", "x", "BYRADIUS", 1, "m") == [b"a", b"b"]


def inside(polygon, x, y):
    """By angles: the sum around an inner point is a full turn."""
    turn = 0
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1]):
        turn += math.atan2((ax - x) * (by - y) - (ay - y) * (bx - x), (ax - x) * (bx - x) + (ay - y) * (by - y))
    return abs(turn) > math.pi


@pytest.mark.holdfast
def test_polygons(c):
    rng = random.Random(4)
    c.pipeline([("GEOADD", "g", "%.5f" % rng.uniform(-30, 30), "%.5f" % rng.uniform(-30, 60), f"p{i}") for i in range(2000)])
    names = [b"p%d" % i for i in range(2000)]
    places = {n: tuple(map(float, p)) for n, p in zip(names, c.call("GEOPOS", "g", *names))}
    for _ in range(60):
        n, cx, cy = rng.randrange(3, 9), rng.uniform(-25, 25), rng.uniform(-25, 50)
        size = 10 ** rng.uniform(-1, 1.3)
        polygon = [(round(max(-180, cx + size * rng.uniform(0.2, 1) * math.cos(2 * math.pi * i / n)), 5),
                    round(max(-85, min(85, cy + size * rng.uniform(0.2, 1) * math.sin(2 * math.pi * i / n))), 5)) for i in range(n)]
        words = [x for p in polygon for x in p]
        got = c.call("GEOSEARCH", "g", "BYPOLYGON", n, *words)
        assert sorted(got) == sorted(k for k, (x, y) in places.items() if inside(polygon, x, y))
        nearest = c.call("GEOSEARCH", "g", "BYPOLYGON", n, *words, "ASC", "WITHDIST")
        assert [float(d) for _, d in nearest] == sorted(float(d) for _, d in nearest) and sorted(k for k, _ in nearest) == sorted(got)
        assert c.call("GEOSEARCHSTORE", "d", "g", "BYPOLYGON", n, *words) == len(got)
    c.call("GEOADD", "square", 1, 1, "a", 3, 1, "b", 1.5, 2, "c", 1, 1.25, "middle")
    found = c.call("GEOSEARCH", "square", "BYPOLYGON", 4, 0, 0, 2, 0, 2, 2.5, 0, 2.5, "WITHDIST", "DESC")
    assert [x[0] for x in found] == [b"c", b"a", b"middle"]
    for name, distance in found[:2]:  # from the mean of the vertices, in metres
        assert abs(float(distance) - float(c.call("GEODIST", "square", "middle", name))) < 1
    for words, text in (("BYPOLYGON 2 0 0 1 1", "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"), ("BYPOLYGON 3 0 0 1 1 2", "ERR syntax error"),
                        ("BYPOLYGON x 0 0 1 1 2 2", "ERR value is not an integer or out of range"),
                        ("BYPOLYGON 3 0 0 1 1 2 99", "ERR invalid longitude,latitude pair 2.000000,99.000000"),
                        ("BYPOLYGON 9223372036854775807 0 0 1 1 2 2", "ERR syntax error"), ("BYPOLYGON 3 0 0 1 1 2 2 BYRADIUS 1 m", "ERR syntax error"),
                        ("FROMLONLAT 1 1 BYPOLYGON 3 0 0 1 1 2 2", "ERR syntax error"), ("BYPOLYGON 3 0 0 1 1 2 2 FROMMEMBER a", "ERR syntax error")):
        x = c.try_call("GEOSEARCH", "square", *words.split(), *(() if len(words.split()) > 4 else ("ASC",)))
        assert isinstance(x, ReplyError) and str(x) == text, words


def test_equal_places_come_as_found(c):
    c.call("GEOADD", "g", *(x for i in range(40) for x in (10, 10, f"m{i:02}")))
    all_of_them = [b"m%02d" % i for i in range(40)]
    assert c.call("GEOSEARCH", "g", "FROMLONLAT", 10, 10, "BYRADIUS", 1, "km", "ASC") == all_of_them
    assert len(set(c.call("GEOSEARCH", "g", "FROMLONLAT", 10, 10, "BYRADIUS", 1, "km", "COUNT", 7))) == 7
