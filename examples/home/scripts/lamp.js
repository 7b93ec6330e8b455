// @name Virtual lamp
// @description A lamp without hardware that takes the commands of a real one.
//
// Try: POST /api/services/light/turn_on {"entity_id": "light.lamp", "brightness": 128}

const lamp = device('light.lamp', {
  name: 'Lamp',
  supported_color_modes: ['brightness'],
  commands: {
    turn_on(data) { turn(true, data); },
    turn_off() { turn(false); },
    toggle(data) { turn(lamp.state !== 'on', data); },
  },
});

function turn(on, data = {}) {
  if (!on) {
    lamp.set('off', {});
    return;
  }
  const brightness = Number(data.brightness ?? last);
  if (!(brightness >= 0 && brightness <= 255)) {
    throw new RangeError(`brightness is 0 to 255, not ${data.brightness}`);
  }
  if (brightness === 0) {
    turn(false);
    return;
  }
  last = brightness;
  lamp.set('on', { brightness });
}

// The lamp stays as it is through a reload of this file and a restart.
let last = lamp.attributes?.brightness ?? 255;
if (lamp.state !== 'on') turn(false);
