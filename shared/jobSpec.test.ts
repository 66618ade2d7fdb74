import {expect, test} from 'vitest';
import {parseJobSpec} from './jobSpec.js';

const MINIMAL = {data: 'datasets/cells', model: {arch: 'yolov8n'}};

function problems(input: unknown): string[] {
  const parsed = parseJobSpec(input);
  return parsed.ok ? [] : parsed.problems.map(found => `${found.path}: ${found.message}`);
}

test('a minimal spec gets the defaults that YOLO users know', () => {
  const parsed = parseJobSpec(MINIMAL);
  expect(parsed).toMatchObject({
    ok: true,
    spec: {
      priority: 50,
      resources: {gpus: 1},
      train: {
        epochs: 100,
        batch: 16,
        imgsz: 640,
        patience: 100,
        lr0: 0.01,
        lrf: 0.01,
        momentum: 0.937,
        close_mosaic: 10,
        box: 'auto',
        cls: 'auto',
        dfl: 'auto',
      },
      checkpoint: {every: {epochs: 1}, keep: {best: 1, last: 2}},
      policy: {restarts: {infra: 10, user: 0}},
    },
  });
});

test('what was parsed parses again to the same', () => {
  const parsed = parseJobSpec({...MINIMAL, train: {epochs: 3, cos_lr: true}, checkpoint: {every: {steps: 5}}});
  expect(parsed.ok && parseJobSpec(parsed.spec)).toEqual(parsed);
});

test('a batch is a number, or the largest that fits', () => {
  for (const batch of ['auto', -1]) {
    const parsed = parseJobSpec({...MINIMAL, train: {batch}, resources: {gpus: 32}});
    expect(parsed).toMatchObject({ok: true, spec: {train: {batch: 'auto'}}});
  }
});

test.each([
  [{...MINIMAL, dat: 1}, 'dat: unknown key; did you mean data?'],
  [{...MINIMAL, epochs: 3}, 'epochs: unknown key; did you mean train.epochs?'],
  [{...MINIMAL, train: {epoch: 3}}, 'train.epoch: unknown key; did you mean epochs?'],
  [{...MINIMAL, train: {device: 0}}, 'train.device: Tenfold chooses the devices; ask for their number with resources.gpus'],
  [{...MINIMAL, train: {constructor: 1}}, 'train.constructor: unknown key; known here: epochs, '],
  [{...MINIMAL, toString: 1}, 'toString: unknown key; known here: kind, '],
  [{...MINIMAL, export: ['onnx']}, 'export: export is not supported yet'],
  [{...MINIMAL, resources: {gpu: 'A100'}}, 'resources.gpu: choosing a kind of GPU is not supported yet'],
  [{...MINIMAL, checkpoint: {every: {step: 3}}}, 'checkpoint.every.step: unknown key; did you mean steps?'],
  [{...MINIMAL, train: {imgsz: 100}}, 'train.imgsz'],
  [{...MINIMAL, train: {epochs: '3'}}, 'train.epochs'],
  [{...MINIMAL, train: {amp: 'fp8'}}, 'train.amp'],
  [{...MINIMAL, train: {optimizer: 'Lion'}}, 'train.optimizer'],
  [{...MINIMAL, train: {freeze: 'backbone'}}, 'train.freeze'],
  [{...MINIMAL, train: {dropout: 0.1}}, 'train.dropout: not supported; detectors have no dropout'],
  [{...MINIMAL, train: {label_smoothing: 0.1}}, "train.label_smoothing: only YOLOv5's loss smooths labels"],
  [{...MINIMAL, train: {obj: 2}}, "train.obj: only YOLOv5's loss has such an item; leave it out with yolov8n"],
  [{...MINIMAL, model: {arch: 'yolov5s'}, train: {dfl: 1.5}}, "train.dfl: only YOLOv8's and YOLOv10's losses have such an item"],
  [{...MINIMAL, name: 'Bad Name'}, 'name: must be 1 to 63 lower-case letters'],
  [{...MINIMAL, resources: {gpus: 32}}, 'train.batch: the global batch of 16 is smaller than the 32 devices'],
  [{model: {arch: 'yolov8n'}}, 'data: is required'],
  [{data: 'x', model: {arch: 'yolov9'}}, 'model.arch: unknown model yolov9'],
  ['words', ': '],
  [null, ': '],
])('%j is refused with its path', (input, expected) => {
  expect(problems(input).join('\n')).toContain(expected);
});

test('every problem is told at once, in the order of paths', () => {
  const found = problems({train: {epochs: 0, lr0: -1}, model: {}, what: 1});
  expect(found.map(line => line.split(':')[0])).toEqual(['data', 'model.arch', 'train.epochs', 'train.lr0', 'what']);
});
