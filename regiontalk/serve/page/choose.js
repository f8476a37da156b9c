// Ways to a photo: the file dialog, dropping, pasting, the camera. Each ends in take(file).

import { $, complain, say } from "./dom.js";

export function listen(take, mostBytes) {
  const offer = (file) => {
    if (!file) return;
    if (file.type && !file.type.startsWith("image/")) return complain(`${file.name}: expected a picture.`);
    if (file.size > mostBytes()) {
      return complain(`${file.name}: ${megabytes(file.size)}; this server takes at most ${megabytes(mostBytes())}.`);
    }
    complain("");
    take(file);
  };
  $("file").addEventListener("change", (event) => {
    offer(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
  const stage = $("stage");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      stage.classList.toggle("over", kind === "dragover");
      if (kind === "drop") offer(event.dataTransfer.files[0]);
    });
  }
  addEventListener("paste", (event) => offer([...event.clipboardData.files][0]));
  camera(offer);
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function camera(offer) {
  const video = $("preview");
  const close = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    $("camera").hidden = true;
    $("webcam").focus();
  };
  $("webcam").addEventListener("click", async () => {
    complain("");
    try {
      if (!navigator.mediaDevices) throw new Error("browsers allow it only on this machine or over https");
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      $("shoot").disabled = true; // until there is a frame: a photo of nothing cannot be shown
      $("camera").hidden = false;
      await video.play();
      $("shoot").disabled = false;
      $("shoot").focus();
    } catch (error) {
      complain(`The camera cannot be used: ${error.message}`);
    }
  });
  $("stop").addEventListener("click", close);
  $("shoot").addEventListener("click", async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    close();
    say("Photo taken.");
    offer(new File([blob], "camera.jpg", { type: "image/jpeg" }));
  });
}
