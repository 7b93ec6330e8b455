// @name Thermostat
// @description Switches a heater by a thermometer, with hysteresis.
//
// Try: POST /api/states/sensor.room_temperature {"state": "17.5"}
// and: POST /api/services/climate/set_temperature {"entity_id": "climate.room", "temperature": 23}

const THERMOMETER = 'sensor.room_temperature'; // any entity whose state is a number
const HEATER = 'switch.heater';                // any entity that takes switch.turn_on and turn_off
const HYSTERESIS = 0.5;                        // degrees to either side of the target

// A stand-in for the heater. Take it out when you have a real one.
const heater = device(HEATER, {
  name: 'Heater',
  commands: {
    turn_on() { heater.set('on'); },
    turn_off() { heater.set('off'); },
  },
});
if (heater.state !== 'on') heater.set('off');

const climate = device('climate.room', {
  name: 'Room',
  unit_of_measurement: '°C',
  hvac_modes: ['heat'],
  commands: {
    async set_temperature(data) {
      const wanted = Number(data.temperature);
      if (!(wanted >= 5 && wanted <= 30)) throw new RangeError(`temperature is 5 to 30, not ${data.temperature}`);
      target = wanted;
      await decide();
    },
  },
});
let target = climate.attributes?.temperature ?? 21;

// decide tells the climate entity how things are, and switches the heater when
// the room is too cold or too warm. Between the two, it stays as it is.
async function decide() {
  const present = parseFloat(state(THERMOMETER)?.state);
  const known = !Number.isNaN(present);
  climate.set('heat', { temperature: target, current_temperature: known ? present : null });
  if (!known) return;
  const on = state(HEATER)?.state === 'on';
  if (!on && present < target - HYSTERESIS) {
    await call('switch.turn_on', { entity_id: HEATER });
  } else if (on && present > target + HYSTERESIS) {
    await call('switch.turn_off', { entity_id: HEATER });
  }
}

on('state_changed', { entity_id: THERMOMETER }, decide);
decide();
