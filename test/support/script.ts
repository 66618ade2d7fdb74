import {chmod, mkdir, writeFile} from 'node:fs/promises';
import path from 'node:path';

/** Makes `file` a program that runs `body`, in the place of a real one that does other things. */
export async function writeScript(file: string, body: string, shell: 'sh' | 'bash' = 'sh'): Promise<void> {
  await mkdir(path.dirname(file), {recursive: true});
  await writeFile(file, `#!/bin/${shell}\n${body}\n`);
  await chmod(file, 0o755);
}
