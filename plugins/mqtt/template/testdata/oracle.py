"""Renders templates with the real Jinja2, for tests to compare with.

Reads JSON lines {"template", "payload" or null, "vars"} and writes JSON lines
{"text"} or {"error", "kept"}. It does what Home Assistant does around
Jinja2 with an MQTT message: strips template and result, and gives value and, if
the payload is JSON, value_json. The filters are Home Assistant's by their
behaviour (docs.home-assistant.io, helpers/template), written anew.
"""
import base64
import datetime
import json
import math
import os
import re
import signal
import sys
import time
import zoneinfo

import jinja2
from jinja2.filters import do_int, do_max, do_min, make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment

sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")
NONE = object()
ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
NOW = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)  # where testing/synctest begins
os.environ["TZ"] = "Europe/Berlin"
time.tzset()


def no_constant(name):
    raise ValueError(name)


def whole(text):
    number = int(text)
    return number if -(2**63) <= number < 2**64 else float(text)


def finite(text):
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def loads(text):
    """json.loads with orjson's rules: no NaN, no lone surrogates, long ints are floats."""
    if not isinstance(text, str):
        raise ValueError("no text")
    value = json.loads(text, parse_constant=no_constant, parse_int=whole, parse_float=finite)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def compact_float(number):
    if not math.isfinite(number):
        return "null"
    text = repr(number)
    if "e" not in text:
        return text
    digits, exponent = text.split("e")
    if exponent == "-05":
        sign = "-" if digits.startswith("-") else ""
        return sign + "0.0000" + digits.lstrip("-").replace(".", "")
    return f"{digits}e{int(exponent)}"


def dumps(value, sort=False):
    """What orjson.dumps gives with OPT_NON_STR_KEYS."""
    if value is None or value is True or value is False or type(value) in (int, str):
        return json.dumps(value, ensure_ascii=False)
    if type(value) is float:
        return compact_float(value)
    if type(value) in (list, tuple):
        return "[" + ",".join(dumps(item, sort) for item in value) + "]"
    if type(value) is dict:
        pairs = []
        for key, item in value.items():
            if type(key) not in (str, int, float, bool, type(None)):
                raise TypeError("key")
            pairs.append((key if type(key) is str else dumps(key), dumps(item, sort)))
        if sort:
            pairs.sort(key=lambda pair: pair[0])
        return "{" + ",".join(json.dumps(k, ensure_ascii=False) + ":" + v for k, v in pairs) + "}"
    raise TypeError(type(value).__name__)


def to_json(value, ensure_ascii=False, pretty_print=False, sort_keys=False):
    if ensure_ascii:
        return json.dumps(value, indent=2 if pretty_print else None, sort_keys=sort_keys)
    text = dumps(value, sort_keys)
    if pretty_print:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return text


def or_fail(default):
    if default is NONE:
        raise ValueError("no default")
    return default


def to_float(value, default=NONE):
    try:
        return float(value)
    except (ValueError, TypeError):
        return or_fail(default)


def to_int(value, default=NONE, base=10):
    result = do_int(value, default=default, base=base)
    return or_fail(default) if result is NONE else result


def to_bool(value, default=NONE):
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.lower().strip()
        if word in ("1", "true", "yes", "on", "enable"):
            return True
        if word in ("0", "false", "no", "off", "disable"):
            return False
    elif isinstance(value, (int, float)):
        return value != 0
    return or_fail(default)


def is_number(value):
    try:
        return math.isfinite(float(value))
    except (ValueError, TypeError):
        return False


def rounded(value, precision=0, method="common", default=NONE):
    try:
        factor = float(10**precision)
        if method == "ceil":
            value = math.ceil(float(value) * factor) / factor
        elif method == "floor":
            value = math.floor(float(value) * factor) / factor
        elif method == "half":
            value = round(float(value) * 2) / 2
        else:
            value = round(float(value), precision)
        return int(value) if precision == 0 else value
    except (ValueError, TypeError):
        return or_fail(default)


def add(value, amount, default=NONE):
    try:
        return float(value) + amount
    except (ValueError, TypeError):
        return or_fail(default)


def multiply(value, amount, default=NONE):
    try:
        return float(value) * amount
    except (ValueError, TypeError):
        return or_fail(default)


def log(value, base=math.e, default=NONE):
    try:
        return math.log(float(value), float(base))
    except (ValueError, TypeError):
        return or_fail(default)


def is_defined(value):
    if isinstance(value, jinja2.Undefined):
        value()
    return value


def iif(value, if_true=True, if_false=False, if_none=NONE):
    if value is None and if_none is not NONE:
        return if_none
    return if_true if value else if_false


def from_json(value, default=NONE):
    try:
        return loads(value)
    except (ValueError, TypeError):
        return or_fail(default)


def flags(ignorecase):
    return re.IGNORECASE if ignorecase else 0


def regex_match(value, find="", ignorecase=False):
    return bool(re.compile(find, flags(ignorecase)).match(str(value)))


def regex_search(value, find="", ignorecase=False):
    return bool(re.compile(find, flags(ignorecase)).search(str(value)))


def regex_findall(value, find="", ignorecase=False):
    return re.compile(find, flags(ignorecase)).findall(str(value))


def regex_findall_index(value, find="", index=0, ignorecase=False):
    return regex_findall(value, find, ignorecase)[index]


def regex_replace(value="", find="", replace="", ignorecase=False):
    return re.compile(find, flags(ignorecase)).sub(replace, str(value))


@jinja2.pass_environment
def newer_sum(environment, iterable, attribute=None, start=0):
    """sum() of Python 3.12 and later, which keeps the error of adding floats."""
    if attribute is not None:
        iterable = map(make_attrgetter(environment, attribute), iterable)
    if isinstance(start, str):
        raise TypeError("sum() can't sum strings")
    total, lost = start, 0.0
    for item in iterable:
        if type(total) is float and type(item) is float:
            added = total + item
            lost += (total - added) + item if abs(total) >= abs(item) else (item - added) + total
            total = added
        else:
            total = total + item
    return total + lost if type(total) is float and lost and math.isfinite(lost) else total


def smallest_or_greatest(chosen):
    @jinja2.pass_environment
    def function(environment, *args, **kwargs):
        if not args:
            raise TypeError("no argument")
        return chosen(environment, args[0] if len(args) == 1 else args, **kwargs)

    return function


def parse_datetime(text):
    """An ISO 8601 date and time, of the forms that the tests have."""
    if not re.fullmatch(r"\d{4}-?\d\d-?\d\d([T ]\d\d:?\d\d.*)?", text):
        raise ValueError(text)
    return datetime.datetime.fromisoformat(text)


def as_local(value):
    if value.tzinfo is None:
        return value.replace(tzinfo=ZONE)
    return value.astimezone(ZONE)


def of_timestamp(value):
    return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)


def timestamp_custom(value, date_format="%Y-%m-%d %H:%M:%S", local=True, default=NONE):
    try:
        result = of_timestamp(value)
        return (as_local(result) if local else result).strftime(date_format)
    except (ValueError, TypeError):
        return or_fail(default)


def timestamp_local(value, default=NONE):
    try:
        return as_local(of_timestamp(value)).isoformat()
    except (ValueError, TypeError):
        return or_fail(default)


def timestamp_utc(value, default=NONE):
    try:
        return of_timestamp(value).isoformat()
    except (ValueError, TypeError):
        return or_fail(default)


def as_timestamp(value, default=NONE):
    try:
        return (value if isinstance(value, datetime.datetime) else parse_datetime(str(value))).timestamp()
    except (ValueError, TypeError):
        return or_fail(default)


def as_datetime(value, default=NONE):
    if type(value) is datetime.datetime:
        return value
    try:
        return of_timestamp(float(value))
    except (ValueError, TypeError):
        pass
    try:
        return parse_datetime(value)
    except (ValueError, TypeError):
        if default is NONE and isinstance(value, str):
            return None
        return or_fail(default)


def strptime(string, fmt, default=NONE):
    try:
        return datetime.datetime.strptime(string, fmt)
    except (ValueError, AttributeError, TypeError):
        return or_fail(default)


def base64_encode(value):
    return base64.b64encode(value.encode()).decode()


def base64_decode(value):
    return base64.b64decode(value).decode()


env = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do"])
both = {"int": to_int, "float": to_float, "bool": to_bool, "is_number": is_number, "iif": iif,
        "bitwise_and": lambda a, b: a & b, "bitwise_or": lambda a, b: a | b, "bitwise_xor": lambda a, b: a ^ b,
        "log": log, "as_datetime": as_datetime, "as_timestamp": as_timestamp, "as_local": as_local}
env.filters.update(both)
env.globals.update(both)
env.globals.update(now=lambda: NOW.astimezone(ZONE), utcnow=lambda: NOW, strptime=strptime, timedelta=datetime.timedelta)
env.filters.update(timestamp_custom=timestamp_custom, timestamp_local=timestamp_local, timestamp_utc=timestamp_utc)
env.globals.update(zip=zip, min=smallest_or_greatest(do_min), max=smallest_or_greatest(do_max))
env.filters.update(
    round=rounded, add=add, multiply=multiply, is_defined=is_defined, from_json=from_json, to_json=to_json,
    regex_match=regex_match, regex_search=regex_search, regex_findall=regex_findall,
    regex_findall_index=regex_findall_index, regex_replace=regex_replace, sum=newer_sum,
    base64_encode=base64_encode, base64_decode=base64_decode, ord=ord, contains=lambda seq, item: item in seq)
env.tests.update(
    datetime=lambda v: isinstance(v, datetime.datetime),
    match=regex_match, search=regex_search, is_number=is_number, contains=lambda seq, item: item in seq,
    list=lambda v: isinstance(v, list), tuple=lambda v: isinstance(v, tuple))


def render(case):
    text = case["template"].strip()
    if not any(tag in text for tag in ("{%", "{{", "{#")):
        return text
    variables = dict(case.get("vars") or {})
    if case.get("payload") is not None:
        variables["value"] = case["payload"]
        try:
            variables["value_json"] = loads(case["payload"])
        except (ValueError, RecursionError):
            pass
    return env.from_string(text).render(**variables).strip()


def too_long(*_):
    raise TimeoutError("too long")


signal.signal(signal.SIGALRM, too_long)
for line in sys.stdin:
    signal.alarm(2)
    try:
        answer = {"text": render(json.loads(line))}
        json.dumps(answer, ensure_ascii=False).encode("utf-8")
        if len(answer["text"]) > 1_000_000:
            raise MemoryError("too long")
    except Exception as error:  # whatever a template can raise is an answer
        answer = {"error": f"{type(error).__name__}: {error}"[:300],
                  "kept": isinstance(error, jinja2.TemplateError)
                  and not isinstance(error, jinja2.TemplateSyntaxError)}
    signal.alarm(0)
    print(json.dumps(answer), flush=True)
