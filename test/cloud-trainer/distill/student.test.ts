/** A student's start: which blocks it inherits, what stays the teacher's, and what is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createStudent, inheritedBlock, studentConfig } from "../../../cloud-trainer/src/distill/student.ts";
import { drawTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { SMALL } from "../train/small-model.ts";

const deep = { ...SMALL, image: { ...SMALL.image, depth: 4 } };
const teacher = { config: deep, tensors: drawTensors(deep, 7) };

test("the first and the last block are inherited, and evenly spaced ones between", () => {
  const from = (depth: number) => Array.from({ length: depth }, (_, block) => inheritedBlock(block, depth, 12));
  assert.deepEqual([from(1), from(2), from(3), from(4)], [[11], [0, 11], [0, 6, 11], [0, 4, 7, 11]]);
});

test("a student inherits its blocks, its embeddings and its head, and owns copies of them", () => {
  const student = createStudent(teacher, studentConfig(deep, SMALL), "inherit");
  const same = (own: string, its: string) => assert.deepEqual(student.get(own)?.data, teacher.tensors.get(its)?.data, own);
  same("visual.trunk.blocks.1.mlp.fc2.weight", "visual.trunk.blocks.3.mlp.fc2.weight");
  same("visual.trunk.blocks.0.attn.q_proj.weight", "visual.trunk.blocks.0.attn.q_proj.weight");
  for (const name of ["visual.trunk.pos_embed", "visual.trunk.head.weight", "text.text_projection", "logit_scale"]) same(name, name);
  assert.ok(!student.has("visual.trunk.blocks.2.norm1.weight"));
  (student.get("logit_scale")?.data as Float32Array)[0] = -1;
  assert.notEqual(teacher.tensors.get("logit_scale")?.data[0], -1);
});

test("a student from scratch, or one taught before, still has the teacher's text tower and logit scale", () => {
  const narrow = { ...SMALL, image: { ...SMALL.image, width: 16, headDim: 16, mlpHidden: 32 } };
  const student = createStudent(teacher, studentConfig(deep, narrow), { tensors: drawTensors(narrow, 8) });
  assert.deepEqual(student.get("text.token_embedding.weight"), teacher.tensors.get("text.token_embedding.weight"));
  assert.deepEqual(student.get("visual.trunk.pos_embed")?.shape, [1, 17, 16]);
});

test("a student of another input, and one that cannot inherit, are refused with what to do", () => {
  const larger = { ...SMALL, image: { ...SMALL.image, size: 64 } };
  assert.throws(() => createStudent(teacher, larger, "inherit"), { code: "student-mismatch", message: /sees 64 pixels in patches of 8/ });
  const wide = { ...SMALL, image: { ...SMALL.image, width: 64 } };
  assert.throws(() => createStudent(teacher, wide, "inherit"), { code: "student-mismatch", message: /say start: scratch/ });
  const deeper = { ...SMALL, image: { ...SMALL.image, depth: 5 } };
  assert.throws(() => createStudent(teacher, deeper, "inherit"), { code: "student-mismatch" });
});
