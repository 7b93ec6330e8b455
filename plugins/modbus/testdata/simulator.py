"""A Modbus server for the tests, on pymodbus 3 as Debian has it.

    simulator.py PORT tcp|rtu

PORT 0 is any. It prints the port, then obeys lines on its standard input, printing one line for each:
"set TABLE ADDRESS VALUE" and "get TABLE ADDRESS", of unit 1. It ends with its input.
"""
import asyncio
import sys

from pymodbus.constants import Endian
from pymodbus.datastore import (
    ModbusServerContext,
    ModbusSlaveContext,
    ModbusSparseDataBlock,
)
from pymodbus.payload import BinaryPayloadBuilder
from pymodbus.server.async_io import ModbusTcpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer

TABLES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
ORDERS = [(Endian.Big, Endian.Big), (Endian.Big, Endian.Little), (Endian.Little, Endian.Big), (Endian.Little, Endian.Little)]


def every_type(byteorder, wordorder):
    """Registers with one value of each type, by pymodbus's own idea of order."""
    b = BinaryPayloadBuilder(byteorder=byteorder, wordorder=wordorder)
    b.add_16bit_int(-2)
    b.add_16bit_uint(65534)
    b.add_32bit_int(-70000)
    b.add_32bit_uint(4000000000)
    b.add_64bit_int(-5000000000)
    b.add_64bit_uint(18000000000000000001)
    b.add_32bit_float(21.5)
    b.add_64bit_float(-1234.5678)
    return [int.from_bytes(word, "big") for word in b.build()]


def memory():
    """The values of unit 1. What is not there is an illegal address."""
    holding = {n: 0 for n in range(20)}
    holding.update({0: 450, 1: 0b1000, 2: 1})
    for i, (byteorder, wordorder) in enumerate(ORDERS):
        for n, word in enumerate(every_type(byteorder, wordorder)):
            holding[1000 + 100 * i + n] = word
    inputs = {n: n for n in range(200) if n != 77}
    inputs.update({0: 355, 1: 0x8000, 10: 0x5344, 11: 0x4D36, 12: 0x3330, 13: 0})  # SDM630
    return ModbusSlaveContext(
        di=ModbusSparseDataBlock({n: n % 3 == 0 for n in range(40)}),
        co=ModbusSparseDataBlock({n: False for n in range(16)}),
        hr=ModbusSparseDataBlock(holding),
        ir=ModbusSparseDataBlock(inputs),
        zero_mode=True,
    )


def obey(unit, line):
    """Does what a line says, and returns what to print."""
    words = line.split()
    if words[:1] == ["set"]:
        unit.setValues(TABLES[words[1]], int(words[2]), [int(words[3])])
        return "ok"
    if words[:1] == ["get"]:
        return str(int(unit.getValues(TABLES[words[1]], int(words[2]))[0]))
    return "what?"


async def main():
    unit = memory()
    context = ModbusServerContext(slaves={1: unit}, single=False)
    framer = {"tcp": ModbusSocketFramer, "rtu": ModbusRtuFramer}[sys.argv[2]]
    server = ModbusTcpServer(context, framer, None, ("127.0.0.1", int(sys.argv[1])), allow_reuse_address=True)
    task = asyncio.create_task(server.serve_forever())
    await server.serving
    print(server.server.sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(obey(unit, line), flush=True)
    task.cancel()


asyncio.run(main())
