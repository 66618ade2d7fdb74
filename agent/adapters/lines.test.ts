import {describe, expect, it} from 'vitest';
import {type Line, linesOf} from './lines.js';

async function linesIn(chunks: readonly (string | Buffer)[], maxBytes = 100): Promise<Line[]> {
  const lines: Line[] = [];
  async function* stream(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) yield Buffer.from(chunk);
  }
  for await (const line of linesOf(stream(), maxBytes)) lines.push(line);
  return lines;
}

const whole = (...texts: string[]): Line[] => texts.map(text => ({text, cut: false}));

describe('the lines of a stream', () => {
  it('are the same however the stream is cut into chunks', async () => {
    const bytes = Buffer.from('grün\n\n{"a":1}\r\nlast');
    for (let size = 1; size <= bytes.length; size++) {
      const chunks = Array.from({length: Math.ceil(bytes.length / size)}, (_, i) => bytes.subarray(i * size, (i + 1) * size));
      expect(await linesIn(chunks)).toEqual(whole('grün', '', '{"a":1}', 'last'));
    }
  });

  it('are cut at the limit, and the next one is whole again', async () => {
    expect(await linesIn(['x'.repeat(7), 'y'.repeat(7), '\nz\n'], 10)).toEqual([{text: 'xxxxxxxyyy', cut: true}, ...whole('z')]);
    expect(await linesIn(['1234567890\n'], 10)).toEqual(whole('1234567890'));
  });

  it('are none in an empty stream', async () => {
    expect(await linesIn([])).toEqual([]);
    expect(await linesIn(['', ''])).toEqual([]);
  });
});
