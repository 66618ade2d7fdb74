import {existsSync, readFileSync} from 'node:fs';
import * as path from 'node:path';
import {fileURLToPath} from 'node:url';

/** The folder of the package, found upwards from this file, so that it is the same from the sources and from `dist/`. */
export const packageRoot: string = findPackageRoot(path.dirname(fileURLToPath(import.meta.url)));

export const packageVersion: string = (JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as {version: string})
  .version;

function findPackageRoot(start: string): string {
  for (let folder = start; ; folder = path.dirname(folder)) {
    if (existsSync(path.join(folder, 'package.json'))) return folder;
    if (path.dirname(folder) === folder) throw new Error(`no package.json above ${start}: the installation is incomplete`);
  }
}
