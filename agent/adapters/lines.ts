/** One line of a byte stream, without its end. `cut`: it was longer than allowed, and the rest of it is dropped. */
export interface Line {
  readonly text: string;
  readonly cut: boolean;
}

const NEWLINE = 0x0a;

/** The lines of a stream, each at most `maxBytes` long; what comes after the last line break is a line too. */
export async function* linesOf(stream: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Line> {
  let pieces: Buffer[] = [];
  let length = 0;
  let cut = false;
  const take = (piece: Buffer): void => {
    const room = maxBytes - length;
    if (piece.length > room) cut = true;
    if (room > 0) pieces.push(piece.subarray(0, room));
    length = Math.min(length + piece.length, maxBytes);
  };
  const finish = (): Line => {
    const line = {text: Buffer.concat(pieces).toString('utf8').replace(/\r$/, ''), cut};
    pieces = [];
    length = 0;
    cut = false;
    return line;
  };
  for await (const data of stream) {
    const chunk = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      take(chunk.subarray(start, end));
      yield finish();
      start = end + 1;
    }
    if (start < chunk.length) take(chunk.subarray(start));
  }
  if (length > 0) yield finish();
}
