"""Video: clips in and out, optical flow, and dreams that go on from frame to frame."""
