import {execFile} from 'node:child_process';
import {mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {writeScript} from '../support/script.js';

/**
 * deploy/setup's parts with stand-ins for the programs that change the machine (apt-get, pip, systemctl). What only a fresh machine can show,
 * that the whole of it works, is shown by CI, which begins on one.
 */

const PARTS = path.resolve('deploy/setup.d');

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tenfold-setup-'));
  await mkdir(path.join(folder, 'bin'));
  await mkdir(path.join(folder, '.cache'));
});
afterEach(() => rm(folder, {recursive: true, force: true}));

interface Ended {
  readonly status: number;
  readonly said: string;
}

/** Runs a script in the folder, with setup's parts loaded and the stand-ins first on the PATH. */
function shell(script: string, env: Record<string, string> = {}): Promise<Ended> {
  const load = `set -euo pipefail; for part in say stamp debian npm libtorch trainer; do source "${PARTS}/$part.sh"; done; begin\n`;
  const {TENFOLD_LIBTORCH: _libtorch, TENFOLD_TORCH_INDEX: _index, ...inherited} = process.env;
  const options = {cwd: folder, env: {...inherited, PATH: `${folder}/bin:${process.env.PATH}`, NO_COLOR: '1', ...env}};
  return new Promise(resolve => {
    const child = execFile('bash', ['-c', load + script], options, (error, stdout, stderr) =>
      resolve({status: error === null ? 0 : Number(error.code), said: stdout + stderr}),
    );
    child.stdin?.end();
  });
}

/** A stand-in that notes its arguments in calls.txt, then runs `body`. */
async function standIn(name: string, body = ''): Promise<void> {
  const file = path.join(folder, 'bin', name);
  await writeScript(file, `echo "${path.basename(name)} $*" >>"${folder}/calls.txt"\n${body}`, 'bash');
}

async function calls(): Promise<string[]> {
  return (await readFile(path.join(folder, 'calls.txt'), 'utf8')).trimEnd().split('\n');
}

/** A folder that looks like LibTorch. */
async function fakeLibtorch(name: string, version: string): Promise<string> {
  const torch = path.join(folder, name);
  const header = path.join(torch, 'include/torch/headeronly/version.h');
  await mkdir(path.dirname(header), {recursive: true});
  await mkdir(path.join(torch, 'lib'), {recursive: true});
  await writeFile(path.join(torch, 'lib/libtorch_cpu.so'), '');
  const [major, minor, patch] = version.split('.');
  await writeFile(
    header,
    `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH ${patch}\n`,
  );
  return torch;
}

/** python3 whose own torch lies at `torch`, and which makes virtual environments whose pip can install the requirements in `offers`. */
async function fakePython(torch: string, offers: readonly string[]): Promise<void> {
  const wheel = await fakeLibtorch('wheel/torch', '2.13.0');
  await standIn(
    'venv-python',
    `case "$*" in
       *'version("nvidia-cuda-runtime")'*) echo 13.0 ;;
       ${offers.map(offer => `*"${offer}"`).join(' | ') || "''"})
         site=.cache/libtorch/lib/python3.11/site-packages; mkdir -p $site/torch-2.13.0.dist-info
         cp -r ${wheel} $site/torch; touch $site/torch-2.13.0.dist-info/RECORD ;;
       *) exit 1 ;;
     esac`,
  );
  await standIn(
    'python3',
    `if [ "$1" = -m ]; then mkdir -p "$3/bin" && ln -s ${folder}/bin/venv-python "$3/bin/python"; else echo "${torch}"; fi`,
  );
}

test('LibTorch: the one that the user names is taken, and a wrong name ends setup with what to do', async () => {
  const named = await fakeLibtorch('named', '2.14.1');
  await fakePython(await fakeLibtorch('machine', '2.13.0'), []);
  expect((await shell('find_or_install_libtorch; echo "took $libtorch"', {TENFOLD_LIBTORCH: named})).said).toContain(`took ${named}`);

  const wrong = await shell('find_or_install_libtorch', {TENFOLD_LIBTORCH: folder});
  expect(wrong.status).toBe(1);
  expect(wrong.said).toMatch(/is not a LibTorch folder[\s\S]*What to do:/);

  const old = await shell('find_or_install_libtorch', {TENFOLD_LIBTORCH: await fakeLibtorch('old', '2.9.1')});
  expect(old.status).toBe(1);
  expect(old.said).toContain('version 2.9.1, and 2.13 or newer is needed');
});

test("LibTorch: python3's own torch is taken when it is new enough, else passed over", async () => {
  const machine = await fakeLibtorch('machine', '2.13.0');
  await fakePython(machine, []);
  expect((await shell('find_or_install_libtorch; echo "took $libtorch"')).said).toContain(`took ${machine}`);

  await fakePython(await fakeLibtorch('old', '2.4.0'), ['torch==2.13.0+cpu']);
  await standIn('nvidia-smi', 'exit 9');
  const {said} = await shell('find_or_install_libtorch; echo "took $libtorch"');
  expect(said).toContain('is 2.4.0: too old, passed over');
  expect(said).toContain(`took ${folder}/.cache/libtorch/lib/python3.11/site-packages/torch`);
});

test("LibTorch without a GPU: the CPU build of pip's own index, else of PyTorch's, else any", async () => {
  await standIn('nvidia-smi', 'exit 9');
  await fakePython('', ['--index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu']);
  expect((await shell('find_or_install_libtorch')).status).toBe(0);
  const installs = (await calls()).filter(call => call.includes('pip install')).map(call => call.replace(/^.*--retries 2 /, ''));
  expect(installs).toEqual(['--no-deps torch==2.13.0+cpu', '--no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu']);

  await rm(path.join(folder, '.cache/libtorch'), {recursive: true});
  await fakePython('', [' torch==2.13.0']);
  expect((await shell('find_or_install_libtorch')).status).toBe(0);

  const again = await shell('find_or_install_libtorch');
  expect(again.said).toContain('2.13.0 for CPU, in .cache/libtorch');
});

test('LibTorch with a GPU, or from the index that the user names', async () => {
  await standIn('nvidia-smi', 'echo "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)"');
  await fakePython('', [' torch==2.13.0', ' nvidia-cuda-cccl==13.0.*']);
  await shell('find_or_install_libtorch');
  expect((await calls()).filter(call => call.includes('pip install')).map(call => call.replace(/^.*--retries 2 /, ''))).toEqual([
    'torch==2.13.0',
    '--no-deps nvidia-cuda-crt==13.0.* nvidia-cuda-cccl==13.0.*',
  ]);

  await rm(path.join(folder, '.cache/libtorch'), {recursive: true});
  await shell('find_or_install_libtorch', {TENFOLD_TORCH_INDEX: 'https://mirror.example/whl'});
  expect((await calls()).at(-1)).toMatch(/--index-url https:\/\/mirror\.example\/whl torch==2\.13\.0$/);
});

test('LibTorch: a CPU build that is there gives way to one for the GPU that came later', async () => {
  const machine = await fakeLibtorch('machine', '2.13.0');
  await fakePython(machine, [' torch==2.13.0', ' nvidia-cuda-cccl==13.0.*']);
  await standIn('nvidia-smi', 'echo "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)"');
  const {said} = await shell('find_or_install_libtorch; echo "took $libtorch"');
  expect(said).toContain('is a CPU build, and a GPU is here: passed over');
  expect(said).toContain(`took ${folder}/.cache/libtorch/lib/python3.11/site-packages/torch`);
  expect((await shell('find_or_install_libtorch; echo "took $libtorch"', {TENFOLD_LIBTORCH: machine})).said).toContain(`took ${machine}`);
});

test('LibTorch: an interrupted installation is done again', async () => {
  await standIn('nvidia-smi', 'exit 9');
  await fakePython('', ['torch==2.13.0+cpu']);
  await fakeLibtorch('.cache/libtorch/lib/python3.11/site-packages/torch', '2.13.0'); // without pip's RECORD
  expect((await shell('find_or_install_libtorch; find_or_install_libtorch')).said).toContain('✓ LibTorch         2.13.0 for CPU');
  expect((await calls()).filter(call => call.includes('pip install'))).toHaveLength(1);
});

test('LibTorch: where pip finds none, setup says what to do', async () => {
  await standIn('nvidia-smi', 'exit 9');
  await fakePython('', []);
  const {status, said} = await shell('find_or_install_libtorch');
  expect(status).toBe(1);
  expect(said).toMatch(/\(exit 1\)[\s\S]*What to do:.*TENFOLD_TORCH_INDEX/);
});

test('the trainer is built once, and anew for another source and for the CUDA LibTorch that took the place of the CPU one', async () => {
  const torch = await fakeLibtorch('torch', '2.13.0');
  await mkdir(path.join(folder, 'agent/trainer'), {recursive: true});
  await writeFile(path.join(folder, 'agent/trainer/main.cpp'), 'int main() {}\n');
  await standIn('cmake', 'mkdir -p agent/trainer/build; [ "$1" != --build ] || touch agent/trainer/build/tenfold-trainer');
  const builds = async (): Promise<number> => {
    const {status} = await shell(`libtorch=${torch}; build_trainer`);
    expect(status).toBe(0);
    return (await calls()).filter(call => call.startsWith('cmake --build')).length;
  };
  expect(await builds()).toBe(1);
  expect(await builds()).toBe(1);
  await writeFile(path.join(torch, 'lib/libtorch_cuda.so'), '');
  expect(await builds()).toBe(2);
  expect(await builds()).toBe(2);
  await writeFile(path.join(folder, 'agent/trainer/main.cpp'), 'int main() { return 1; }\n');
  expect(await builds()).toBe(3);
});

const APT = `policy="$PWD/policy-rc.d"; as_root=(); apt_install`;

test('apt: etcd cannot start while its package is installed, is disabled afterwards, and no policy stays behind', async () => {
  await standIn('systemctl');
  await standIn(
    'apt-get',
    `case "$*" in *install*) sh ${folder}/policy-rc.d etcd start; echo "etcd may start: $?"; sh ${folder}/policy-rc.d cron start; echo "cron may start: $?" ;; esac`,
  );
  const {status, said} = await shell(`(${APT} etcd-server cmake); test ! -e policy-rc.d && echo removed`);
  expect(status).toBe(0);
  expect(said).toMatch(/etcd may start: 101\ncron may start: 0\n[\s\S]*removed/);
  expect((await calls()).filter(call => call.startsWith('systemctl'))).toContain('systemctl disable etcd.service');
});

test('apt: the policy goes even when the installation fails', async () => {
  await standIn('systemctl');
  await standIn('apt-get', 'case "$*" in *install*) exit 100 ;; esac');
  expect((await shell(`(${APT} etcd-server)`)).status).not.toBe(0);
  expect((await shell('test ! -e policy-rc.d')).status).toBe(0);
});

test('apt: an installation that is interrupted leaves neither a policy nor an enabled etcd', async () => {
  await standIn('systemctl');
  await standIn('apt-get', 'case "$*" in *install*) kill -TERM $PPID ;; esac');
  expect((await shell(`(${APT} etcd-server)`)).status).not.toBe(0);
  expect((await shell('test ! -e policy-rc.d')).status).toBe(0);
  expect(await calls()).toContain('systemctl disable etcd.service');
});

test('apt: what a killed setup left behind, the next one clears away', async () => {
  await standIn('id', 'echo 0');
  await standIn('systemctl');
  await standIn('apt-get', 'case "$*" in *install*) kill -KILL $PPID ;; esac');
  await shell(`(${APT} etcd-server)`);
  expect((await shell('test -e policy-rc.d')).status).toBe(0);
  await standIn('dpkg-query', `for package in $(source ${PARTS}/debian.sh; debian_packages); do echo "installed $package"; done`);
  const {status, said} = await shell('policy="$PWD/policy-rc.d"; install_debian_packages; test ! -e policy-rc.d && echo removed');
  expect([status, said.includes('removed')]).toEqual([0, true]);
  expect(await calls()).toContain('systemctl disable etcd.service');
});

test('apt: while another apt holds the package lists setup waits, and says so once', async () => {
  const tries = '$(grep -c "apt-get .* update" calls.txt)';
  await standIn(
    'apt-get',
    `[ "$LC_ALL" = C ] || exit 9
     case "$*" in *update*) [ ${tries} -gt 3 ] || { echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)" >&2; exit 100; } ;; esac`,
  );
  const {status, said} = await shell(`sleep() { :; }; (${APT} cmake)`);
  expect(status).toBe(0);
  expect(said.match(/another apt holds the package lists/g)).toHaveLength(1);
  expect(said).not.toContain('update failed');
  expect((await calls()).filter(call => call.startsWith('apt-get')).map(call => call.split(' ')[4])).toEqual([
    'update',
    'update',
    'update',
    'update',
    'install',
  ]);

  await writeFile(path.join(folder, 'calls.txt'), '');
  await standIn('apt-get', 'case "$*" in *update*) echo "E: Could not get lock" >&2; exit 100 ;; esac');
  expect((await shell(`sleep() { :; }; (${APT} cmake)`)).said).toContain('update failed; trying with the lists that are there');
  expect((await calls()).filter(call => call.includes(' update'))).toHaveLength(61);
});

test("apt: a machine's own policy, and an etcd that was there before, are left alone", async () => {
  await standIn('systemctl');
  await standIn('apt-get');
  await writeFile(path.join(folder, 'policy-rc.d'), '#!/bin/sh\nexit 101\n');
  await shell(`(${APT} etcd-server)`);
  expect(await readFile(path.join(folder, 'policy-rc.d'), 'utf8')).toBe('#!/bin/sh\nexit 101\n');

  await writeFile(path.join(folder, 'calls.txt'), '');
  await shell(`(${APT} cmake)`);
  expect((await calls()).filter(call => call.startsWith('systemctl'))).toEqual([]);
});

test('without root, and with nobody to type a password, setup says what root has to install', async () => {
  await standIn('id', 'echo 1000');
  await standIn('sudo', 'exit 1');
  await standIn('dpkg-query', 'echo installed cmake');
  const {status, said} = await shell('install_debian_packages');
  expect(status).toBe(1);
  expect(said).toMatch(/What to do: as root: apt-get update && apt-get install --no-install-recommends .*etcd-server/);
  expect(said).not.toMatch(/--no-install-recommends .*\bcmake\b/);
});

test('a Node.js that is too old is named', async () => {
  await standIn('node', 'echo v18.19.0');
  const {status, said} = await shell('check_node');
  expect([status, said.includes('18.19.0 is too old')]).toEqual([1, true]);
});

test('a stamp holds while contents are the same, whatever their age, and not after a build by hand', async () => {
  const {said} = await shell(`
    mkdir src; echo one >src/a; echo built >product; digest=$(digest_of src); stamp built-from "$digest"
    touch -d tomorrow src/a; stamped built-from "$(digest_of src)" product && echo 'touched: holds'
    echo two >src/a; stamped built-from "$(digest_of src)" product || echo 'changed: stale'
    echo one >src/a; touch -d tomorrow product; stamped built-from "$(digest_of src)" product || echo 'built by hand: stale'
    touch -d yesterday product; mv src/a src/b; stamped built-from "$(digest_of src)" product || echo 'renamed: stale'`);
  expect(said).toMatch(/touched: holds\nchanged: stale\nbuilt by hand: stale\nrenamed: stale/);
});

test('compilers at a time: as many as cores, fewer when memory is short, what the user says in any case', async () => {
  const {said} = await shell(`
    nproc() { echo 8; }
    free_memory_mb() { echo 64000; }; echo "plenty $(compile_jobs)"
    free_memory_mb() { echo 3200; }; echo "short $(compile_jobs)"
    free_memory_mb() { echo 700; }; echo "tiny $(compile_jobs)"
    TENFOLD_BUILD_JOBS=5; echo "told $(compile_jobs)"`);
  expect(said).toMatch(/plenty 8\nshort 2\ntiny 1\ntold 5/);
});

test('a step that fails shows the end of its own output, not that of the step before', async () => {
  const {status, said} = await shell(`
    talk() { echo "$1"; [ "$1" != broken ]; echo "after $1"; }
    work First 'goes well' 'nothing' talk fine
    work Second 'goes badly' 'mend it.' talk broken
    echo 'not reached'`);
  expect(status).toBe(1);
  expect(said).toMatch(/✓ First[\s\S]*✗ Second[\s\S]*\n {6}broken\n {4}What to do: mend it\./);
  expect(said).not.toMatch(/after broken|not reached| {6}fine/);
});

test('a step that takes long says how many of its parts are done, where its command counts them', async () => {
  const {said} = await shell(`
    report_every=0.05
    count() { echo '[2/5] Building'; until grep -qx ' *2 of 5' told; do sleep 0.05; done; echo '[5/5] Linking'; }
    echo >told; work Trainer 'many files' 'nothing' count >told
    cat told`);
  expect(said).toMatch(/… Trainer +many files\n +2 of 5\n[\s\S]*✓ Trainer/);
});
