"""Common corruptions of images, after the script that made CIFAR-10-C: noise, blur, weather and digital ones, at five
severities.

Each kind is a function of `images` (n, h, w, c), float64 in [0, 1], a `severity` from 1 to 5, and a generator of random
numbers for each image; it returns grey levels (n, h, w, c) from 0 to 255, which are cut to whole ones when they are stored. An
image comes out the same alone and among others.

Source: D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019; constants and order of steps are those of ImageNet-C/create_c/make_cifar_c.py of https://github.com/hendrycks/robustness,
commit ca36008. What is not as there: the code, which takes numpy, scipy and Pillow in the place of OpenCV, ImageMagick and
scikit-image; the random numbers, which have a seed of their own for each image; and `frost`, which needs photographs, and is
left out.
"""
