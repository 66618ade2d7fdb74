import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {afterAll, describe, expect, it} from 'vitest';
import {Scenario} from './scenario.js';

/** Plays every script of cases/ and holds what the core says against what the script expects. `REWRITE=1` writes down what it says instead. */

const folder = fileURLToPath(new URL('cases/', import.meta.url));
const isRewriting = process.env.REWRITE === '1';

for (const file of readdirSync(folder).sort()) {
  describe(file.replace('.txt', ''), () => {
    const stories = readFileSync(folder + file, 'utf8')
      .trimEnd()
      .split(/\n\n(?=# )/);
    const played: string[] = [];
    it.each(stories.map(story => [story.split('\n')[0]!.slice(2), story]))('%s', (_title, story) => {
      const outcome = play(story);
      played.push(outcome);
      if (!isRewriting) expect(outcome).toBe(story);
    });
    afterAll(() => {
      if (isRewriting && played.length === stories.length) writeFileSync(folder + file, `${played.join('\n\n')}\n`);
    });
  });
}

/** The story as it comes out: its own lines, and after each `----` what the lines above it print. */
function play(story: string): string {
  const scenario = new Scenario();
  const lines: string[] = [];
  let printed: string[] = [];
  let isExpectation = false;
  for (const line of story.split('\n')) {
    if (line === '') isExpectation = false;
    if (isExpectation) continue;
    lines.push(line);
    if (line === '----') {
      lines.push(...printed);
      printed = [];
      isExpectation = true;
    } else if (line !== '' && !line.startsWith('#')) printed.push(...scenario.run(line));
  }
  return lines.join('\n');
}
