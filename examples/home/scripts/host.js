// @name Host sensors
// @description This machine's load, memory, uptime and temperature, every 5 seconds.
// @read /proc/loadavg
// @read /proc/meminfo
// @read /proc/uptime
// @read /sys/class/thermal/thermal_zone*/temp
// @read /sys/class/hwmon/hwmon*/temp1_input
//
// A script reads only files that its @read lines name and that carillon.yaml
// grants, under scripts: permissions: host.js: read.

const PERIOD = '5s';

// text returns what a file holds, or undefined where there is no such file.
// Anything else that keeps us from reading is told once.
const told = new Set();
function text(path) {
  try {
    return read(path);
  } catch (e) {
    if (!told.has(e.message) && !/no such file/.test(e.message)) {
      told.add(e.message);
      log.warn(e.message);
    }
  }
}

// A sensor is declared with its first value, so that a machine without
// the file has no such sensor.
const sensors = {};
function publish(id, options, value, attributes) {
  if (value === undefined || Number.isNaN(value)) return;
  if (!sensors[id]) sensors[id] = device(id, options);
  sensors[id].set(value, attributes);
}

function load() {
  const m = /^(\S+) (\S+) (\S+)/.exec(text('/proc/loadavg') || '');
  if (!m) return;
  publish('sensor.host_load', { name: 'Load', icon: 'mdi:chip', state_class: 'measurement' },
    Number(m[1]), { five_minutes: Number(m[2]), fifteen_minutes: Number(m[3]) });
}

function memory() {
  const info = text('/proc/meminfo') || '';
  const mebibytes = key => {
    const m = new RegExp('^' + key + ':\\s+(\\d+) kB', 'm').exec(info);
    return m ? Math.round(m[1] / 1024) : NaN;
  };
  const total = mebibytes('MemTotal'), available = mebibytes('MemAvailable');
  publish('sensor.host_memory_use',
    { name: 'Memory use', icon: 'mdi:memory', unit_of_measurement: '%', state_class: 'measurement' },
    Math.round(1000 * (total - available) / total) / 10, { total_mib: total, available_mib: available });
}

function uptime() {
  const m = /^(\d+)/.exec(text('/proc/uptime') || '');
  publish('sensor.host_uptime',
    { name: 'Uptime', device_class: 'duration', unit_of_measurement: 's', state_class: 'total_increasing' },
    m ? Number(m[1]) : undefined);
}

// Where a machine tells its temperature differs: the first place that makes
// sense is kept.
let thermometer;
function temperature() {
  const places = thermometer ? [thermometer] : [];
  for (let i = 0; i < 8 && !thermometer; i++) {
    places.push(`/sys/class/thermal/thermal_zone${i}/temp`, `/sys/class/hwmon/hwmon${i}/temp1_input`);
  }
  for (const place of places) {
    const degrees = parseInt(text(place), 10) / 1000;
    if (degrees > -50 && degrees < 150) {
      thermometer = place;
      publish('sensor.host_temperature',
        { name: 'Temperature', device_class: 'temperature', unit_of_measurement: '°C', state_class: 'measurement' },
        Math.round(degrees * 10) / 10, { source: place });
      return;
    }
  }
}

function measure() {
  load();
  memory();
  uptime();
  temperature();
}

measure();
every(PERIOD, measure);
if (Object.keys(sensors).length === 0) log.warn('this machine tells nothing through /proc and /sys');
