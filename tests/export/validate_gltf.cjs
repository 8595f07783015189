// node validate_gltf.cjs FILE: what Khronos's validator says of a glTF file, as JSON: [[severity, code, pointer, message]…].
// Severity 0 is an error, 1 a warning, 2 information, 3 a hint.
const fs = require("fs");
const validator = require("gltf-validator");

validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])), { maxIssues: 0 }).then((report) => {
  const issues = report.issues.messages.map((one) => [one.severity, one.code, one.pointer, one.message]);
  process.stdout.write(JSON.stringify(issues));
});
