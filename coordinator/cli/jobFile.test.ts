import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import * as path from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {assembleSpec} from './jobFile.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tenfold-spec-'));
});
afterEach(() => rmSync(folder, {recursive: true}));

function fromWords(...words: string[]): unknown {
  const result = assembleSpec({file: undefined, words, cwd: folder});
  return result.ok ? result.spec : result.problems.map(({path: where, message}) => `${where}: ${message}`);
}

function fromFile(content: string, ...words: string[]): unknown {
  writeFileSync(path.join(folder, 'job.yaml'), content);
  const result = assembleSpec({file: 'job.yaml', words, cwd: folder});
  return result.ok ? result.spec : result.problems.map(({path: where, message}) => `${where}: ${message}`);
}

describe('key=value words', () => {
  it('put YOLO arguments under train, and the rest where it belongs', () => {
    expect(fromWords('data=datasets/defects', 'model=yolov8n', 'epochs=5', 'lr0=1e-3', 'cos_lr=true', 'gpus=2', 'name=x', 'nc=3')).toEqual({
      data: 'datasets/defects',
      model: {arch: 'yolov8n', nc: 3},
      train: {epochs: 5, lr0: 0.001, cos_lr: true},
      resources: {gpus: 2},
      name: 'x',
    });
  });

  it('reach any part of the spec by its path', () => {
    expect(fromWords('checkpoint.every.steps=500', 'checkpoint.keep.last=3', 'policy.restarts.infra=0')).toEqual({
      checkpoint: {every: {steps: 500}, keep: {last: 3}},
      policy: {restarts: {infra: 0}},
    });
  });

  it('win over the file, the last one over those before it', () => {
    expect(fromFile('train: {epochs: 100, imgsz: 320}', 'epochs=5', 'epochs=6')).toEqual({train: {epochs: 6, imgsz: 320}});
  });

  it('that are wrong are all told, with what was probably meant', () => {
    expect(fromWords('epochs', 'batchs=4', 'modle=yolov8n', '=3')).toEqual([
      'epochs: must be key=value, such as epochs=100',
      'batchs: unknown key; did you mean batch?',
      'modle: unknown key; did you mean model?',
      '=3: must be key=value, such as epochs=100',
    ]);
  });

  it('that other tools know are passed on, for the spec to say what to do instead', () => {
    expect(fromWords('device=0,1')).toEqual({train: {device: '0,1'}});
  });

  it('that every object knows are unknown here', () => {
    const words = ['constructor', 'toString', 'valueOf', '__proto__'];
    expect(fromWords(...words.map(word => `${word}=1`))).toEqual(words.map(word => expect.stringMatching(`^${word}: unknown key`)));
  });

  it('cannot reach into prototypes', () => {
    fromWords('__proto__.polluted=1', 'constructor.prototype.polluted=1');
    expect(({} as {polluted?: number}).polluted).toBeUndefined();
  });
});

describe('data', () => {
  it('that is a path becomes absolute, a folder becomes the data.yaml in it', () => {
    mkdirSync(path.join(folder, 'coco8'));
    writeFileSync(path.join(folder, 'coco8/data.yaml'), '');
    expect(fromWords('data=coco8')).toEqual({data: path.join(folder, 'coco8/data.yaml')});
    expect(fromWords('data=coco8/data.yaml')).toEqual({data: path.join(folder, 'coco8/data.yaml')});
    expect(fromWords('data=elsewhere/data.yaml')).toEqual({data: path.join(folder, 'elsewhere/data.yaml')});
  });

  it('that is a bare name is a registered data set', () => {
    expect(fromWords('data=defects')).toEqual({data: 'datasets/defects'});
  });

  it('that begins with datasets/ is a registered one whatever lies here, and with ./ it is a path', () => {
    mkdirSync(path.join(folder, 'datasets/defects'), {recursive: true});
    writeFileSync(path.join(folder, 'datasets/defects/data.yaml'), '');
    expect(fromWords('data=datasets/defects')).toEqual({data: 'datasets/defects'});
    for (const given of ['./datasets/defects', 'datasets/defects/data.yaml'])
      expect(fromWords(`data=${given}`)).toEqual({data: path.join(folder, 'datasets/defects/data.yaml')});
    expect(fromWords('data=./defects')).toEqual({data: path.join(folder, 'defects')});
  });

  it("in a file is relative to the file's own folder", () => {
    mkdirSync(path.join(folder, 'jobs'));
    writeFileSync(path.join(folder, 'jobs/a.yaml'), 'data: ../d/data.yaml');
    expect(assembleSpec({file: 'jobs/a.yaml', words: [], cwd: folder})).toEqual({ok: true, spec: {data: path.join(folder, 'd/data.yaml')}});
  });
});

describe('the model', () => {
  it('may be the path of a yaml, whose text is sent', () => {
    writeFileSync(path.join(folder, 'own.yaml'), 'depth: 1\n');
    expect(fromWords('model=own.yaml')).toEqual({model: {arch: 'depth: 1\n'}});
    expect(fromFile('model: own.yaml')).toEqual({model: {arch: 'depth: 1\n'}});
  });

  it('may be named as other tools name it', () => {
    expect(fromWords('model=yolov8n.yaml')).toEqual({model: {arch: 'yolov8n'}});
    expect(fromWords('model=yolov8n.pt')).toEqual([
      'model: starting from given weights is not supported yet; model=yolov8n trains that architecture from scratch',
    ]);
  });
});

describe('a file', () => {
  it.each([
    ['is no YAML', 'a: [', /is not YAML/],
    ['is no mapping', '- a', /must be a mapping/],
  ])('that %s is told', (_, content, expected) => {
    expect(fromFile(content)).toEqual([expect.stringMatching(expected)]);
  });

  it('that is not there is told', () => {
    const result = assembleSpec({file: 'none.yaml', words: [], cwd: folder});
    expect(result).toEqual({ok: false, problems: [{path: path.join(folder, 'none.yaml'), message: 'cannot be read (ENOENT)'}]});
  });
});
